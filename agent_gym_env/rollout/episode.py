"""The record of one played dialogue: enough to read, re-score, export and render it alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import msgspec

from agent_gym_env.chat import functions_reader
from agent_gym_env.corpus.task import Turn
from agent_gym_env.types import Action
from agent_gym_env.values.equality import value_text

EPISODE_FORMAT = 1

Number = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
"""A reward or a part of one. The environment's lie in [0, 1]; those of other rewards may not,
but their sums must not overflow."""
POLICY_FAILED = "policy_failed"
"""The ``action_error`` of a step in which silence was played for a policy that had failed."""


class StepRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of ``env.step``.

    Attributes:
        action: what the policy did, as the environment understood it.
        tool_result: the observation's ``tool_result`` that followed; ``""`` without calls.
        action_error: the stable code, when the action was repaired or partly refused;
            ``policy_failed`` where silence was played for a policy that had failed.
    """

    action: Action
    tool_result: str = ""
    action_error: str | None = None


class TurnRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of the agent.

    Attributes:
        user: the user's words that opened it.
        steps: at least one.
        target: what the corpus did.
        reward: in [0, 1]; ``None`` where it could not be told.
        components: the reward's parts; ``None`` for one that does not apply.
        reason: why there is no reward, or what a judge said.
    """

    user: str
    steps: Annotated[tuple[StepRecord, ...], msgspec.Meta(min_length=1)]
    target: Turn
    reward: Number | None = None
    components: dict[str, Number | None] = {}
    reason: str | None = None


class Episode(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dialogue played by one policy.

    Attributes:
        dialogue_id: unique within its split only.
        split: the split.
        corpus: fingerprint of the compiled split that was played.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        services: of the dialogue.
        seen_services: those of them that train has; ``None`` where the corpus has no train.
        date: the dialogue's "today", ISO.
        policy: the policy's name.
        reward: the reward's name.
        seed: of the episode.
        tools: what was on offer, JSON in OpenAI's function format.
        turns: closed turns, in order.
        terminated: whether the dialogue came to its end.
        truncated: whether a time limit cut it.
        error: ``Class: message`` of the exception that the policy raised; a failed episode is a
            record. ``terminated`` tells whether the rest was played in silence.
        duration_s: wall-clock seconds.
        format: version of this record's shape.
    """

    dialogue_id: str
    split: str
    corpus: str
    services: tuple[str, ...]
    date: str
    policy: str
    reward: str
    turns: tuple[TurnRecord, ...]
    schema_variant: str | None = None
    seen_services: tuple[str, ...] | None = None
    seed: int | None = None
    tools: str = "[]"
    terminated: bool = False
    truncated: bool = False
    error: str | None = None
    duration_s: float = 0.0
    format: int = EPISODE_FORMAT

    def __post_init__(self) -> None:
        """Refuse a date or tools that nothing could read; a decoder calls this, too.

        Raises:
            ValueError: ``date`` or ``tools`` is not of its format.
        """
        check_date_and_tools(self.date, self.tools)

    @property
    def mean_reward(self) -> float | None:
        """Mean reward of the scored turns; ``None`` if no turn was scored."""
        scored = [turn.reward for turn in self.turns if turn.reward is not None]
        return sum(scored) / len(scored) if scored else None


def check_date_and_tools(day: str, tools: str) -> None:
    """Check two texts of a record that have a format of their own.

    Args:
        day: an ISO date.
        tools: JSON in OpenAI's function format.

    Raises:
        ValueError: one of them is not of its format.
    """
    try:
        is_date = date.fromisoformat(day).isoformat() == day
    except ValueError:
        is_date = False
    if not is_date:
        raise ValueError(f"date must be like 2019-03-01, not {day!r:.40}")
    defaults_by_tool(tools)


@functools.lru_cache(maxsize=64)
def defaults_by_tool(tools: str) -> Mapping[str, Mapping[str, str]]:
    """Return, for each tool, the defaults of its optional arguments.

    Args:
        tools: an episode's ``tools``, JSON in OpenAI's function format.

    Raises:
        ValueError: it is something else.
    """
    try:
        functions = _read_functions(tools)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(
            f"tools must be a JSON array in OpenAI's function format, not {tools!r:.40}: {error}"
        ) from error
    return {
        function.name: {
            name: value_text(argument.default)
            for name, argument in function.parameters.properties.items()
            if argument.default is not None
        }
        for function in functions
    }


class _Argument(msgspec.Struct):
    default: Any = None


class _Parameters(msgspec.Struct):
    properties: dict[str, _Argument] = {}


class _Function(msgspec.Struct):
    name: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


_read_functions = functions_reader(_Function)
