"""Gemini through google-generativeai, which Google stopped supporting on 30 November 2025.

It does not support signatures of reasoning, which Gemini 3 requires with every native tool call.
Use it without native tools for those models, or use `agent_gym_env.lm.google_genai_client`.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from agent_gym_env.chat import functions_of
from agent_gym_env.extras import pip_line, require
from agent_gym_env.lm.base import Request, Response, default_model
from agent_gym_env.lm.budget import PRICES
from agent_gym_env.lm.client import ClientOptions, RemoteLM, remote_model, with_client_options
from agent_gym_env.lm.credentials import Secret, place, split_address
from agent_gym_env.lm.gemini import (
    bare_name,
    config,
    contents,
    gemini_key,
    model_to_ask,
    read_generated,
    system_instruction,
    tool_config,
)
from agent_gym_env.lm.transport import Failure, failure_of_status
from agent_gym_env.process_wide import SharedChange

_T = TypeVar("_T")
_SCHEMA_KEYS = ("type", "format", "description", "nullable", "enum", "items", "properties",
                "required")  # fmt: skip
"""Keywords of JSON Schema that its schemas support."""


@with_client_options
def google_generativeai_client(model: str | None = None, **options: Any) -> RemoteLM:
    """Create a client that uses google-generativeai, whose key and address hold for the process.

    Args:
        model: Google's name of the model; a leading ``gemini/`` is removed. By default
            `default_model`.
        options: fields of `ClientOptions`. The key is read from ``GOOGLE_API_KEY`` or
            ``GEMINI_API_KEY``. Prices are those of `PRICES`.

    Raises:
        MissingDependency: google-generativeai is not installed.
        MissingCredentials: no key is set.
        RetiredModelError: Google has shut the model down.
    """
    warnings.warn(
        "google-generativeai is at its end of life: use google_genai_client "
        f"({pip_line('gemini')}) or litellm_client",
        DeprecationWarning,
        stacklevel=2,
    )
    return remote_model(GoogleGenerativeAITransport, model, options)


class GoogleGenerativeAITransport:
    """Sends requests through google-generativeai; see `google_generativeai_client`."""

    is_own_server = False

    def __init__(self, model: str | None, options: ClientOptions) -> None:
        asked = model_to_ask(model or default_model(), options.api_base, options.when_retired)
        self.name = bare_name(asked)
        self.identity = f"google-generativeai {self.name} {place(options.api_base)}"
        self.price = options.price or PRICES.get(self.name)
        key = gemini_key(self.name, options.api_key)
        in_address = () if options.api_base is None else split_address(options.api_base).secrets()
        self.secrets: tuple[Secret, ...] = (key, *in_address)
        self._library = _load()
        self._errors: Any = require("google.api_core.exceptions", extra="google-generativeai")
        place_of_api = {} if options.api_base is None else {"api_endpoint": options.api_base}
        self._library.configure(api_key=key.reveal(), transport="rest", client_options=place_of_api)

    async def send(self, request: Request) -> Response | Failure:
        """Send a request once, in a thread: the library has no asynchronous calls over REST."""
        return await _in_thread(lambda: self._ask(request))

    def failure(self, error: BaseException) -> Failure:
        """Classify an exception; those that are not Google's are connection failures."""
        if not isinstance(error, self._errors.GoogleAPICallError) or error.code is None:
            return Failure("transient", f"{type(error).__name__}: {error}")
        headers = getattr(error.response, "headers", None) or {}
        return failure_of_status(int(error.code), str(error), headers.get("Retry-After"))

    async def aclose(self) -> None:
        """Do nothing: the library owns the connections."""

    def _ask(self, request: Request) -> Response | Failure:
        model = self._library.GenerativeModel(
            self.name, system_instruction=system_instruction(request.messages)
        )
        answer = model.generate_content(
            _without_signatures(contents(request.messages)),
            generation_config=_as_open_api(config(request)),
            tools=[{"function_declarations": [*map(_declaration, functions_of(request.tools))]}]
            if request.tools
            else None,
            tool_config=tool_config(request),
            # The library's own retries know nothing of our deadline.
            request_options={"retry": None},
        )
        body = type(answer._result).to_json(answer._result, use_integers_for_enums=False)
        return read_generated(body, self.name, self.price)


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_no_warnings = SharedChange(_without_warnings)


def _load() -> Any:
    # The library warns of its end of life by itself; our warning also says what to use.
    with _no_warnings.held():
        return require("google.generativeai", extra="google-generativeai")


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run work in a daemon thread, since a call cannot be cancelled at exit."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[_T] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not result.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            outcome = work()
        except BaseException as error:  # noqa: BLE001  (handed on, to the one who waits)
            loop.call_soon_threadsafe(settle, result.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, result.set_result, outcome)

    threading.Thread(target=run, name="agent-gym-google-generativeai", daemon=True).start()
    return await result


def _declaration(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "parameters": _schema(function["parameters"]),
    }


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Write JSON Schema as OpenAPI; unsupported keywords are left out."""
    kept = {name: schema[name] for name in _SCHEMA_KEYS if name in schema}
    if "items" in kept:
        kept["items"] = _schema(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: _schema(kind) for name, kind in kept["properties"].items()}
    return kept


def _as_open_api(values: dict[str, Any]) -> dict[str, Any]:
    schema = values.pop("response_json_schema", None)
    return values if schema is None else {**values, "response_schema": _schema(schema)}


def _without_signatures(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for content in written:
        for part in content["parts"]:
            part.pop("thought_signature", None)
    return written
