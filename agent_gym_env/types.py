"""The values that cross the borders between the world, the agent and the records of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

AtLeast0 = Annotated[int, msgspec.Meta(ge=0)]
AtLeast1 = Annotated[int, msgspec.Meta(ge=1)]
FromZero = Annotated[float, msgspec.Meta(ge=0)]
"""Ranges of options; configurations are held to them."""

Observation = Mapping[str, str]
"""What an agent sees: the text leaves ``user``, ``tool_result``, ``messages`` and ``tools``."""

ToolStatus = Literal["success", "failure", "error"]
"""``failure``: the service says no (nothing found, slot taken); ``error``: it refuses the call."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool.

    Attributes:
        name: ``Service-Intent``, for example ``Restaurants_1-FindRestaurants``.
        arguments: values by argument name. SGD's are all strings; an agent may send any JSON value.
    """

    name: str
    arguments: dict[str, Any] = {}


class Usage(msgspec.Struct, frozen=True):
    """Tokens that one completion took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model gave for one action, kept for cost accounts and distillation.

    Attributes:
        text: the raw completion, before it was parsed.
        model: the model that wrote it.
        usage: tokens taken.
        cost_usd: cost in US dollars, ``None`` where the price is not known.
        latency_s: wall-clock seconds from request to answer.
        token_ids: ids of the completion's tokens, when the model told them.
    """

    text: str
    model: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    token_ids: tuple[int, ...] | None = None


class DialogueAct(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What a turn does, in the terms of Schema-Guided Dialogue.

    Attributes:
        act: the kind, for example ``REQUEST`` or ``NOTIFY_SUCCESS``.
        slot: the slot that it is about; ``""`` for none.
        value: the canonical value; ``""`` for none.
    """

    act: str
    slot: str = ""
    value: str = ""


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent does in one step.

    Text ends the agent's turn; tool calls without text keep it open; both are executed and said.

    Attributes:
        text: words for the user; ``""`` for none.
        tool_calls: calls, executed in order before the text is said.
        completion: where the action came from, when a model wrote it.
        acts: what the text does; read by a simulated user that was asked to read acts instead of
            text, and by nobody else.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    completion: Completion | None = None
    acts: tuple[DialogueAct, ...] = ()


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool answers.

    Attributes:
        name: the tool that was called, as the agent named it when no such tool exists.
        status: ``success``, ``failure`` (the service says no) or ``error`` (the call is not valid).
        results: rows, each a value by slot name, or the JSON array of them; ``None`` with an error.
        error: what is wrong and what is expected; ``None`` without an error.
    """

    name: str
    status: ToolStatus
    results: Sequence[Mapping[str, str]] | msgspec.Raw | None = None
    error: str | None = None

    def rows(self) -> list[Mapping[str, str]]:
        """Give the results, read where they are JSON; none with an error."""
        if isinstance(self.results, msgspec.Raw):
            return msgspec.json.decode(self.results, type=list[Mapping[str, str]])
        return list(self.results or ())
