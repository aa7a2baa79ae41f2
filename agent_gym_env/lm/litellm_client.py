"""Any model that litellm routes to: Gemini, OpenAI, Anthropic, and a hundred others."""

from __future__ import annotations

import json
import os
import re
import warnings
from typing import Any

import msgspec

from agent_gym_env.errors import MissingCredentials
from agent_gym_env.extras import require
from agent_gym_env.lm.base import Request, Response, default_model
from agent_gym_env.lm.budget import PRICES, Price
from agent_gym_env.lm.chat_completions import payload, read_completion
from agent_gym_env.lm.client import ClientOptions, RemoteLM, remote_model, with_client_options
from agent_gym_env.lm.credentials import Address, Secret, split_address
from agent_gym_env.lm.gemini import gemini_key, model_to_ask
from agent_gym_env.lm.transport import Failure, causes, failure_of_status
from agent_gym_env.process_wide import SharedChange, environment_variable

_NO_KEY = "none"
"""The key sent to the user's own server if none is set."""

_ASKS_THE_NETWORK = ("github_copilot", "chatgpt")
"""Providers that litellm logs in to when it is asked for their names."""

_CREDENTIAL_CHAINS = frozenset(
    (
        "azure",
        "azure_ai",
        "bedrock",
        "cloudflare",
        "ollama",
        "ollama_chat",
        "sagemaker",
        "vertex_ai",
    )
)
"""Providers without one key: roles, profiles and machine accounts count too, and a call finds them.

Ollama needs nothing, and Azure takes tokens of several kinds.
"""

_OTHER_NAMES = {"cohere": "CO_", "huggingface": "HF_", "openrouter": "OR_", "volcengine": "ARK_"}
"""Prefixes of further variables that litellm reads but does not list as missing."""

_LACKING = re.compile(
    r"Missing credentials|Missing (?:\w+ )?(?:API[ _]Key|JWT key|Tenant ID)"
    r"|[A-Z]_API_KEY is not set|Unable to locate credentials|default credentials were not found"
    r"|the api_key client option must be set|API key are not set"
    r"|No api base was set|api_base is required",
    re.IGNORECASE,
)
_LACKING_CLASSES = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
)
"""Errors of botocore and google-auth."""


@with_client_options
def litellm_client(model: str | None = None, **options: Any) -> RemoteLM:
    """Create a client that uses litellm, which takes about five seconds to import.

    Args:
        model: name in litellm's spelling, ``provider/model``; by default `default_model`.
        options: fields of `ClientOptions`. A user and password in ``api_base`` are sent as a
            header; a query cannot be sent. The key is read from ``GOOGLE_API_KEY`` or
            ``GEMINI_API_KEY`` for Gemini, from the provider's own variable for others. Prices are
            litellm's, or ours if litellm has none.

    Raises:
        MissingDependency: litellm is not installed.
        MissingCredentials: the provider needs a key, and none is set.
        RetiredModelError: Google has shut the model down.
        ValueError: litellm does not know the provider, or the address has a query.
    """
    return remote_model(LiteLLMTransport, model, options)


class LiteLLMTransport:
    """Sends requests through litellm; see `litellm_client` and `Transport`."""

    def __init__(self, model: str | None, options: ClientOptions) -> None:
        self.name = model_to_ask(model or default_model(), options.api_base, options.when_retired)
        api_base = options.api_base
        self._address = None if api_base is None else _without_query(split_address(api_base))
        self.identity = f"litellm {self.name} {self._address.place if self._address else ''}"
        self._key = _key_of(self.name, options.api_key)
        in_address = self._address.secrets() if self._address else ()
        self.secrets: tuple[Secret, ...] = (*((self._key,) if self._key else ()), *in_address)
        self._litellm = _load()
        self._missing = () if self._key else missing_variables(self._litellm, self.name)
        if self._missing and self._address is None:
            raise MissingCredentials(_no_key(self.name, self._missing))
        self.price = options.price or _price(self._litellm, self.name)
        self.is_own_server = api_base is not None and not self.name.startswith("gemini/")

    async def send(self, request: Request) -> Response | Failure:
        """Send a request once."""
        response = await self._litellm.acompletion(
            **payload(request, self.name),
            **self._where(),
            # litellm's own retries multiply with each other and with ours.
            max_retries=0,
        )
        return read_completion(json.dumps(response.model_dump()), self.name, self.price)

    def _where(self) -> dict[str, Any]:
        """Write the address and the credentials."""
        key = self._key.reveal() if self._key else None
        if self._address is None:
            return {"api_key": key}
        # The user's own server may need no key, but the libraries below litellm insist on one.
        where: dict[str, Any] = {
            "api_base": self._address.place,
            "api_key": key or (_NO_KEY if self._missing else None),
        }
        if self._address.authorization:
            where["extra_headers"] = {"Authorization": self._address.authorization}
        return where

    def failure(self, error: BaseException) -> Failure:
        """Classify an exception by the status that litellm's errors carry."""
        if _lacks_credentials(error):
            return Failure("no_credentials", str(error))
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return Failure("transient", f"{type(error).__name__}: {error}")
        headers = getattr(error, "litellm_response_headers", None) or {}
        # An answer of Gemini's that cannot be read comes as a request that is not valid.
        unread = status == 422 and "Error converting to valid response" in str(error)
        failure = failure_of_status(status, str(error), headers.get("retry-after"), unread=unread)
        if failure.kind == "refused_key" and self._missing:
            return Failure("no_credentials", _no_key(self.name, self._missing), status)
        if type(error).__name__ == "ContextWindowExceededError":
            return msgspec.structs.replace(failure, kind="too_long")
        return failure

    async def aclose(self) -> None:
        """Do nothing: litellm owns its connections and closes them itself."""


def _key_of(model: str, given: str | None) -> Secret | None:
    if model.startswith("gemini/"):
        return gemini_key(model, given)
    # litellm knows which variable holds the key of which provider.
    return Secret(given) if given else None


def _without_query(address: Address) -> Address:
    if address.query:
        raise ValueError(
            f"litellm cannot send the query of api_base {address.place!r}: give a key in the "
            'provider\'s environment variable, or take "client": "local", which sends queries'
        )
    return address


def missing_variables(litellm: Any, model: str) -> tuple[str, ...]:
    """Return the environment variables of which one must hold a key for a model.

    Args:
        litellm: the library. The lookup takes about a millisecond and sends nothing.
        model: name in litellm's spelling.

    Returns:
        Empty if a key is set, if none is needed, or if only a call can tell.

    Raises:
        ValueError: litellm does not know the provider.
    """
    if model.partition("/")[0] in _ASKS_THE_NETWORK:
        return ()
    try:
        _, provider, key, _ = litellm.get_llm_provider(model)
    except litellm.BadRequestError as error:
        raise ValueError(
            f"litellm does not know the provider of {model!r}; expected provider/model, such as "
            "openai/gpt-5-mini, gemini/gemini-3.8-flash or hosted_vllm/my-model"
        ) from error
    if provider in _CREDENTIAL_CHAINS or key or litellm.api_key:
        return ()
    if getattr(litellm, f"{provider}_key", None) or _has_other_variable(provider):
        return ()
    return tuple(litellm.validate_environment(model)["missing_keys"])


def _has_other_variable(provider: str) -> bool:
    """Return whether any variable of the environment holds a key of the provider."""
    stems = (provider.partition("_")[0].upper(), _OTHER_NAMES.get(provider, "\0"))
    return any(
        value and name.startswith(stems) and name.endswith(("KEY", "TOKEN"))
        for name, value in os.environ.items()
    )


def _no_key(model: str, variables: tuple[str, ...]) -> str:
    return f"no key is set for {model}: set the environment variable {' or '.join(variables)}"


def _lacks_credentials(error: BaseException) -> bool:
    """Return whether a library found no credentials, and so sent nothing."""
    return any(
        type(cause).__name__ in _LACKING_CLASSES or _LACKING.search(str(cause)[:500])
        for cause in causes(error)
    )


_prices_of_the_package = SharedChange(environment_variable)
"""Keeps litellm from downloading its list of prices when it is imported."""


def _load() -> Any:
    # pydantic warns of a dozen of litellm's own types, some of them at the first request.
    warnings.filterwarnings("ignore", r"Items? '.*' on TypedDict class", UserWarning, "pydantic")
    with _prices_of_the_package.held("LITELLM_LOCAL_MODEL_COST_MAP", "True"):
        litellm: Any = require("litellm", extra="llm")
    litellm.suppress_debug_info = True
    return litellm


def _price(litellm: Any, model: str) -> Price | None:
    known: dict[str, dict[str, Any]] = litellm.model_cost
    bare = model.partition("/")[2] or model
    entry = known.get(model) or known.get(bare) or {}
    if not entry.get("input_cost_per_token"):
        return PRICES.get(bare)
    cached = entry.get("cache_read_input_token_cost")
    return Price(
        prompt=entry["input_cost_per_token"] * 1e6,
        completion=entry.get("output_cost_per_token", 0.0) * 1e6,
        cached_prompt=None if cached is None else cached * 1e6,
    )
