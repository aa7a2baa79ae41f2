"""Any model that litellm routes to: Gemini, OpenAI, Anthropic, and a hundred others."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

from agent_gym_env.extras import require
from agent_gym_env.lm.base import DEFAULT_MODEL, Request, Response
from agent_gym_env.lm.budget import Budget
from agent_gym_env.lm.chat_completions import payload, read_completion
from agent_gym_env.lm.client import RemoteLM
from agent_gym_env.lm.gemini_key import gemini_key
from agent_gym_env.lm.prices import PRICES, Price
from agent_gym_env.lm.retry import Limits
from agent_gym_env.lm.secret import Scrubber, ScrubbingFilter, Secret
from agent_gym_env.lm.wire import Failure, failure_of_status, place


def litellm_client(
    model: str = DEFAULT_MODEL,
    *,
    api_base: str | None = None,
    api_key: str | None = None,
    price: Price | None = None,
    limits: Limits | None = None,
    budget: Budget | None = None,
    cache: Path | None = None,
) -> RemoteLM:
    """Make a client on litellm, which takes about five seconds to import.

    Args:
        model: as litellm spells it, ``provider/model``.
        api_base: another place than the provider's own.
        api_key: by default from the environment: ``GOOGLE_API_KEY`` or ``GEMINI_API_KEY`` for
            Gemini, the provider's own variable for others.
        price: what tokens cost; by default litellm's list, or ours where that has no entry.
        limits: of each completion.
        budget: what may be spent.
        cache: folder of the cache; ``None`` for none.

    Raises:
        MissingDependency: litellm is not installed.
        PermanentLMError: there is no key for Gemini.
    """
    transport = LiteLLMTransport(model, api_base=api_base, api_key=api_key, price=price)
    return RemoteLM(transport, limits=limits, budget=budget, cache=cache)


class LiteLLMTransport:
    """Sends requests through litellm; see `litellm_client` and `Transport`."""

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        price: Price | None = None,
    ) -> None:
        self.name = model
        self.identity = f"litellm {model} {place(api_base)}"
        self._key = _key_of(model, api_key)
        self.secrets: tuple[Secret, ...] = (self._key,) if self._key else ()
        self._api_base = api_base
        self._litellm = _load()
        self.price = price or _price(self._litellm, model)
        # When it is told to debug, it logs answers as they come, and a model may echo its headers.
        self._log_filter = ScrubbingFilter(Scrubber(self.secrets))
        logging.getLogger("LiteLLM").addFilter(self._log_filter)

    async def send(self, request: Request) -> Response | Failure:
        """Ask once."""
        response = await self._litellm.acompletion(
            **payload(request, self.name),
            api_base=self._api_base,
            api_key=self._key.reveal() if self._key else None,
            # litellm's own retries multiply with each other and with ours.
            max_retries=0,
        )
        return read_completion(json.dumps(response.model_dump()), self.name, self.price)

    def failure(self, error: BaseException) -> Failure:
        """Read the status that all of litellm's errors carry."""
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return Failure("transient", f"{type(error).__name__}: {error}")
        headers = getattr(error, "litellm_response_headers", None) or {}
        # An answer of Gemini's that cannot be read comes as a request that is not valid.
        unread = status == 422 and "Error converting to valid response" in str(error)
        return failure_of_status(status, str(error), headers.get("retry-after"), unread=unread)

    async def aclose(self) -> None:
        """Leave litellm's connections to litellm: they are the process's, and it closes them."""
        logging.getLogger("LiteLLM").removeFilter(self._log_filter)


def _key_of(model: str, given: str | None) -> Secret | None:
    if model.startswith("gemini/"):
        return gemini_key(model, given)
    # litellm knows which variable holds the key of which provider.
    return Secret(given) if given else None


def _load() -> Any:
    # Without it litellm fetches its list of prices from the network when it is imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # pydantic says so of a dozen of litellm's own types, and nobody but litellm can change it.
    warnings.filterwarnings("ignore", r"Items? '.*' on TypedDict class", UserWarning, "pydantic")
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
