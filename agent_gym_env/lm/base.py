"""What is asked of a language model, what it answers, and the contract between the two."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from agent_gym_env.chat import Message
from agent_gym_env.errors import LMError
from agent_gym_env.types import Completion, ToolCall, Usage

DEFAULT_MODEL = "gemini/gemini-3-pro-preview"
"""The model wherever neither a configuration nor `MODEL_VARIABLE` names one, in litellm's spelling.

Google shut it down on 9 March 2026; see `agent_gym_env.lm.gemini`.
"""

MODEL_VARIABLE = "AGENT_GYM_MODEL"
"""The environment variable that names the model wherever none is given."""


def default_model() -> str:
    """Return the model used if none is named: that of `MODEL_VARIABLE`, or `DEFAULT_MODEL`."""
    return os.environ.get(MODEL_VARIABLE, "").strip() or DEFAULT_MODEL


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that decides what a model answers, but the model: JSON values only.

    Attributes:
        messages: the conversation, the system message first.
        tools: what may be called, in OpenAI's function format.
        tool_choice: ``auto``, ``none``, ``required``, or OpenAI's object that names a function.
        parallel_tool_calls: ``False`` for at most one call in the answer; ``None`` for the
            provider's own choice. Gemini has no such parameter.
        response_format: JSON schema that the text must follow; ``None`` for free text.
        temperature: of sampling; ``None`` for the provider's own.
        max_tokens: of the answer; ``None`` for the provider's own.
        seed: of sampling, where the provider has one.
        stop: texts that end the answer.
        extra: further parameters, as the provider spells them.
        sample: number of the draw; equal requests of different numbers are cached apart. It is
            not sent.
    """

    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]] = ()
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: dict[str, Any] = {}
    sample: int = 0
    parallel_tool_calls: bool | None = None


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer, and what it took to get it.

    Attributes:
        text: the words; ``""`` for none. Calls that could not be read are in it, as written.
        tool_calls: what the model calls, arguments parsed.
        tool_call_ids: the provider's id of each call, to be sent back verbatim: Gemini keeps the
            signature of its reasoning in it.
        model: the model that answered.
        finish_reason: in OpenAI's words: ``stop``, ``length``, ``tool_calls``, ``content_filter``.
        usage: tokens of all wire responses it took, ``None`` where the provider does not tell.
        cost_usd: of all wire responses it took; ``None`` where the price is not known; 0 from the
            cache.
        latency_s: wall-clock seconds from the question to the answer, waits included.
        attempts: requests that went over the wire; 0 from the cache.
        cached: whether it comes from the cache.
        token_ids: of the answer as the model wrote it, its end among them; ``None`` where the
            provider does not tell.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_ids: tuple[str, ...] = ()
    model: str = ""
    finish_reason: str = "stop"
    usage: Usage | None = None
    cost_usd: float | None = None
    latency_s: float = 0.0
    attempts: int = 1
    cached: bool = False
    token_ids: tuple[int, ...] | None = None

    def completion(self) -> Completion:
        """Give what an action and its episode keep."""
        return Completion(
            text=self.text,
            model=self.model,
            usage=self.usage,
            cost_usd=self.cost_usd,
            latency_s=self.latency_s,
            token_ids=self.token_ids,
        )


class LanguageModel(Protocol):
    """A model that answers. Safe to ask from several threads at once."""

    name: str
    """The model's name, as reports show it."""

    def complete(self, request: Request) -> Response:
        """Answer.

        Raises:
            TransientLMError: the provider failed, and went on failing when it was asked again.
            PermanentLMError: the provider refuses the request.
            DeadlineError: there was no answer in time.
            BudgetExceeded: the run has spent what it may spend.
        """

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Answer many requests at once, each with its answer or the error that it ended with."""

    def close(self) -> None:
        """Let go of connections and threads; closing twice is fine."""


@runtime_checkable
class StoppableModel(LanguageModel, Protocol):
    """A model that can stop an answer that nobody waits for any more."""

    def complete_while(self, request: Request, is_wanted: Callable[[], bool]) -> Response:
        """Answer as `LanguageModel.complete` does.

        Args:
            request: the request.
            is_wanted: called repeatedly; once it returns ``False`` the answer may end anywhere.
        """


@runtime_checkable
class CancellableModel(Protocol):
    """A model whose requests under way can be cancelled."""

    def cancel(self) -> None:
        """Cancel all requests under way in other threads, which get a `CancelledError`."""


@runtime_checkable
class ForgetfulModel(Protocol):
    """A model that caches its answers and can forget one."""

    def forget(self, request: Request) -> None:
        """Delete the answer to a request from the cache, if it is there."""


def forget_answer(model: LanguageModel, request: Request) -> None:
    """Delete a model's cached answer to a request, because it could not be used."""
    if isinstance(model, ForgetfulModel):
        model.forget(request)
