"""Values that environments, agents and records exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

AtLeast0 = Annotated[int, msgspec.Meta(ge=0)]
AtLeast1 = Annotated[int, msgspec.Meta(ge=1)]
FromZero = Annotated[float, msgspec.Meta(ge=0)]
"""Types of options with a range, which configurations are checked against."""

Observation = Mapping[str, str]
"""An observation: the texts ``user``, ``tool_result``, ``messages`` and ``tools``."""

ToolStatus = Literal["success", "failure", "error"]
"""``failure``: nothing found, or not possible; ``error``: the call is not valid."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool.

    Attributes:
        name: name of the tool, for example ``Restaurants_1-FindRestaurants``.
        arguments: values by argument name. SGD's are all strings; an agent may send any JSON value.
    """

    name: str
    arguments: dict[str, Any] = {}


class Usage(msgspec.Struct, frozen=True):
    """Number of tokens of one completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model's output for one action, kept to account for costs and for distillation.

    Attributes:
        text: raw completion, before it was parsed.
        model: name of the model.
        usage: number of tokens.
        cost_usd: cost in US dollars, ``None`` if the price is unknown.
        latency_s: wall-clock seconds from request to answer.
        token_ids: ids of the completion's tokens, if known.
    """

    text: str
    model: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    token_ids: tuple[int, ...] | None = None


class DialogueAct(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A dialogue act, in the terms of Schema-Guided Dialogue.

    Attributes:
        act: the kind, for example ``REQUEST`` or ``NOTIFY_SUCCESS``.
        slot: the slot that it is about; ``""`` for none.
        value: the canonical value; ``""`` for none.
    """

    act: str
    slot: str = ""
    value: str = ""


# Tuples of records with `omit_defaults` are built from lists: on Python 3.10, an empty generator
# gives another empty tuple than ``()``, and msgspec would write it.
class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """The agent's part of one step.

    Text ends the agent's turn; tool calls without text keep it open. With both, the calls are
    executed before the text is said.

    Attributes:
        text: words for the user; ``""`` for none.
        tool_calls: calls, executed in order before the text is said.
        completion: output of the model that the action was parsed from, if any.
        acts: meaning of the text, for a simulated user that reads acts in place of text; nothing
            else reads them.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    completion: Completion | None = None
    acts: tuple[DialogueAct, ...] = ()


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of a tool.

    Attributes:
        name: full name of the tool, or the agent's name for it if the tool is unknown.
        status: ``success``, ``failure`` (nothing found, or not possible) or ``error`` (the call is
            not valid).
        results: rows, each a value by slot name, or the JSON array of them; any JSON value for a
            function of a log; ``None`` with an error.
        error: message with what was found and what is expected; ``None`` without an error.
        distance: share of the arguments that differ from the recorded call whose answer this is, in
            [0, 1]; ``None`` if the call was not answered with a similar one's result.
        simulated: whether a language model made the results up.
    """

    name: str
    status: ToolStatus
    results: Sequence[Mapping[str, str]] | msgspec.Raw | None = None
    error: str | None = None
    distance: float | None = None
    simulated: bool = False

    def rows(self) -> list[Mapping[str, str]]:
        """Return the rows of the results, decoded; empty with an error."""
        if isinstance(self.results, msgspec.Raw):
            return msgspec.json.decode(self.results, type=list[Mapping[str, str]])
        return list(self.results or ())
