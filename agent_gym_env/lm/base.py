"""Requests to a language model, its responses, and the protocol that every model implements."""

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
    """Everything that decides a model's answer except the model itself; JSON values only.

    Attributes:
        messages: messages of the conversation, the system message first.
        tools: tools that the model may call, in OpenAI's function format.
        tool_choice: ``auto``, ``none``, ``required``, or OpenAI's object that names a function.
        parallel_tool_calls: ``False`` for at most one call in the answer; ``None`` for the
            provider's own choice. Gemini has no such parameter.
        response_format: JSON schema that the text must follow; ``None`` for free text.
        temperature: sampling temperature; ``None`` for the provider's default.
        max_tokens: limit of the answer's tokens; ``None`` for the provider's default.
        seed: seed of sampling, for providers that take one.
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
    """One answer, with its cost and the time that it took.

    Attributes:
        text: words of the answer, ``""`` if there are none. It includes calls that could not be
            read, as they were written.
        tool_calls: calls that the model makes, with their arguments parsed.
        tool_call_ids: the provider's id of each call, to be sent back verbatim: Gemini keeps the
            signature of its reasoning in it.
        model: name of the model that answered.
        finish_reason: reason for the end, in OpenAI's words: ``stop``, ``length``, ``tool_calls``,
            ``content_filter``.
        usage: tokens of all responses that were billed for it; ``None`` if the provider does not
            report them.
        cost_usd: cost of all responses that were billed for it; ``None`` if the price is unknown,
            0 for a cached answer.
        latency_s: wall-clock seconds from the question to the answer, waits included.
        attempts: requests that went over the wire; 0 from the cache.
        cached: whether the answer comes from the cache.
        token_ids: tokens of the answer as the model wrote it, including the end token; ``None`` if
            the provider does not report them.
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
        """Return the part that an action and its episode record."""
        return Completion(
            text=self.text,
            model=self.model,
            usage=self.usage,
            cost_usd=self.cost_usd,
            latency_s=self.latency_s,
            token_ids=self.token_ids,
        )


class LanguageModel(Protocol):
    """A model that answers requests. Several threads may ask it at once."""

    name: str
    """The model's name, as reports show it."""

    def complete(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            TransientLMError: the provider failed in every try.
            PermanentLMError: the provider refuses the request.
            DeadlineError: there was no answer in time.
            BudgetExceeded: the budget is spent.
        """

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Answer many requests at once; return an answer or an error for each."""

    def close(self) -> None:
        """Close connections and threads; closing twice is allowed."""


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
