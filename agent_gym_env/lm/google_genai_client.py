"""Gemini through Google's own library, google-genai."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from agent_gym_env.chat import functions_of
from agent_gym_env.extras import require
from agent_gym_env.lm.base import Request, Response, default_model
from agent_gym_env.lm.budget import PRICES
from agent_gym_env.lm.client import ClientOptions, RemoteLM, remote_model, with_client_options
from agent_gym_env.lm.credentials import Secret, split_address
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

_URL_SAFE = str.maketrans("-_", "+/")


@with_client_options
def google_genai_client(model: str | None = None, **options: Any) -> RemoteLM:
    """Create a client that uses google-genai.

    Args:
        model: Google's name of the model; a leading ``gemini/`` is removed. By default
            `default_model`.
        options: fields of `ClientOptions`. ``api_base`` has no version at its end. The key is read
            from ``GOOGLE_API_KEY`` or ``GEMINI_API_KEY``. Prices are those of `PRICES`.

    Raises:
        MissingDependency: google-genai is not installed.
        MissingCredentials: no key is set.
        RetiredModelError: Google has shut the model down.
    """
    return remote_model(GoogleGenAITransport, model, options)


class GoogleGenAITransport:
    """Sends requests through google-genai; see `google_genai_client` and `Transport`."""

    is_own_server = False

    def __init__(self, model: str | None, options: ClientOptions) -> None:
        asked = model_to_ask(model or default_model(), options.api_base, options.when_retired)
        address = None if options.api_base is None else split_address(options.api_base)
        self.name = bare_name(asked)
        self.identity = f"google-genai {self.name} {address.place if address else ''}"
        self.price = options.price or PRICES.get(self.name)
        self._key = gemini_key(self.name, options.api_key)
        self.secrets: tuple[Secret, ...] = (self._key, *(address.secrets() if address else ()))
        self._genai: Any = require("google.genai", extra="gemini")
        self._address = address
        self._client: tuple[asyncio.AbstractEventLoop, Any] | None = None

    async def send(self, request: Request) -> Response | Failure:
        """Send a request once."""
        settings = config(request)
        settings["system_instruction"] = system_instruction(request.messages)
        if request.tools:
            settings["tools"] = [
                {"function_declarations": [*map(_declaration, functions_of(request.tools))]}
            ]
            settings["tool_config"] = tool_config(request)
        answer = await self._open().aio.models.generate_content(
            model=self.name, contents=_with_bytes(contents(request.messages)), config=settings
        )
        body = answer.model_dump_json(by_alias=True, exclude_none=True)
        return read_generated(body, self.name, self.price)

    def failure(self, error: BaseException) -> Failure:
        """Classify an exception; those that are not Google's are connection failures."""
        if isinstance(error, json.JSONDecodeError):
            return Failure("transient", f"the answer is not JSON: {error}")
        if isinstance(error, self._genai.errors.APIError):
            status = error.code if isinstance(error.code, int) else 500
            headers = getattr(error.response, "headers", None) or {}
            reason = json.dumps(error.details, default=str)
            return failure_of_status(status, reason, headers.get("Retry-After"))
        return Failure("transient", f"{type(error).__name__}: {error}")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client[1].aio.aclose()
            self._client = None

    def _open(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            options: dict[str, Any] = {"retry_options": {"attempts": 1}}
            if self._address is not None:
                query = f"?{self._address.query}" if self._address.query else ""
                options["base_url"] = self._address.place + query
                if self._address.authorization:
                    options["headers"] = {"Authorization": self._address.authorization}
            client = self._genai.Client(api_key=self._key.reveal(), http_options=options)
            self._client = loop, client
        return self._client[1]


def _declaration(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "parameters_json_schema": function["parameters"],
    }


def _with_bytes(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for content in written:
        for part in content["parts"]:
            if "thought_signature" in part:
                part["thought_signature"] = _bytes(part["thought_signature"])
    return written


def _bytes(signature: str) -> bytes:
    """Read base64 in either of its alphabets."""
    padding = "=" * (-len(signature) % 4)
    return base64.b64decode(signature.translate(_URL_SAFE) + padding)
