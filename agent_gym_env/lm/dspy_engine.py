"""DSPy's requests, answered by one of our language models with its cache, budget and limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agent_gym_env.chat import Message
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel, Request, Response
from agent_gym_env.lm.parse import without_reasoning
from agent_gym_env.types import Usage

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy import lm15  # noqa: E402

_recorded: ContextVar[list[Response] | None] = ContextVar("recorded_answers", default=None)


class DSPyLM(dspy.LM):  # type: ignore[misc]  # dspy is untyped
    """One of our models as a DSPy model. DSPy's own cache and retries are off: the model has both.

    Args:
        model: model that answers.
        temperature: sampling temperature; ``None`` for the provider's default.
    """

    def __init__(self, model: LanguageModel, *, temperature: float | None = None) -> None:
        # DSPy derives a model family from a name; this name must not match any.
        name = f"agent_gym/{model.name.replace('/', ':')}"
        super().__init__(
            name, engine=_Engine(model), temperature=temperature, cache=False, num_retries=0
        )

    def copy(self, **updates: Any) -> DSPyLM:
        """Copy the model; DSPy asks for another draw of equal requests by a new ``rollout_id``."""
        if updates.get("rollout_id") is not None:
            updates["engine"] = self.engine.with_sample(updates["rollout_id"])
        copied: DSPyLM = super().copy(**updates)
        return copied


class _Engine:
    """Translates DSPy's requests and our answers."""

    def __init__(self, model: LanguageModel, sample: int = 0) -> None:
        self._model = model
        self._sample = sample

    def __deepcopy__(self, memo: dict[int, Any]) -> _Engine:
        return self

    def with_sample(self, sample: int) -> _Engine:
        return _Engine(self._model, sample)

    def complete(self, request: lm15.Request) -> lm15.Response:
        answer = self._model.complete(_request(request, self._sample))
        recorded = _recorded.get()
        if recorded is not None:
            recorded.append(answer)
        return _response(answer, request.model)


@contextmanager
def recorded_answers() -> Iterator[list[Response]]:
    """Collect what models answer to the calls that this thread makes through DSPy."""
    answers: list[Response] = []
    token = _recorded.set(answers)
    try:
        yield answers
    finally:
        _recorded.reset(token)


def _request(request: lm15.Request, sample: int) -> Request:
    messages: list[Message] = []
    if request.system:
        messages.append({"role": "system", "content": _text(request.system)})
    messages += [
        {"role": message.role, "content": _text(message.parts)} for message in request.messages
    ]
    config = request.config
    return Request(
        messages=messages,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        stop=tuple(config.stop),
        sample=sample,
    )


def _text(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    return "".join(part.text for part in parts if part.type != "thinking")


def _response(answer: Response, model: str) -> lm15.Response:
    usage = answer.usage or Usage()
    finish_reason = answer.finish_reason
    return lm15.Response(
        id=None,
        model=model,
        message=lm15.Message.assistant(without_reasoning(answer.text)[0]),
        finish_reason=finish_reason if finish_reason in ("stop", "length") else "stop",
        usage=lm15.Usage(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        ),
    )
