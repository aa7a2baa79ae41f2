"""Rewards for simulated dialogues: success of the user's errands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from agent_gym_env.rewards.base import Score
from agent_gym_env.suggestions import refuse_unknown, unknown_name


class Verdict(msgspec.Struct, frozen=True):
    """Verdict on a simulated dialogue, at its end or on the way.

    Attributes:
        success: every errand is settled, no write was wrong, all questions were answered rightly.
        strict: a success, with the user's consent to every write and without a broken rule.
        milestones: share of settled errands and answered questions, in [0, 1].
        reasons: stable codes of what is missing for a strict success.
    """

    success: bool = False
    strict: bool = False
    milestones: float = 0.0
    reasons: tuple[str, ...] = ()

    def is_spoiled(self) -> bool:
        """Return whether a write was wrong or without consent, which excludes a strict success."""
        return any(reason.startswith("write_") for reason in self.reasons)


class ClosedEpisode(msgspec.Struct, frozen=True):
    """A simulated dialogue at the end of one of the agent's turns.

    Attributes:
        before: the verdict at the end of the turn before.
        verdict: the verdict now.
        calls: number of tool calls in this turn.
        over: whether the dialogue is over.
    """

    before: Verdict
    verdict: Verdict
    calls: int
    over: bool


@runtime_checkable
class TaskReward(Protocol):
    """Scores the turns of simulated dialogues."""

    @property
    def name(self) -> str:
        """Name of the reward in episodes and reports."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the components, the same for each turn."""

    def grade(self, episode: ClosedEpisode) -> Score:
        """Score the turn that was just closed."""


class ShapedTaskReward:
    """Strict success at the end, with small rewards for progress on the way.

    A turn earns ``milestone * (change of the milestones) - turn - call * (calls)``; the last turn
    earns ``1 - milestone`` more for a strict success. A wrong write, or one without consent, takes
    the milestones back, so that what was earned for them is paid back. A turn earns between -1 and
    1. With the default weights an episode sums to at most 1, and to no less than -1 in up to 60
    turns of two calls.

    Args:
        turn: cost of a turn.
        call: cost of a tool call.
        milestone: weight of the milestones, in [0, 1].

    Raises:
        ValueError: a weight is not such a number.
    """

    name = "task"
    parts = ("strict", "progress", "cost")

    def __init__(self, *, turn: float = 0.01, call: float = 0.003, milestone: float = 0.3) -> None:
        for option, value, most in (
            ("turn", turn, math.inf),
            ("call", call, math.inf),
            ("milestone", milestone, 1.0),
        ):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not 0 <= value <= most:
                limit = "" if most == math.inf else f" to {most:g}"
                raise ValueError(
                    f"reward 'task': {option} must be a number from 0{limit}, not {value!r}"
                )
        self._turn, self._call, self._milestone = turn, call, milestone

    def grade(self, episode: ClosedEpisode) -> Score:
        """Score the turn that was just closed."""
        strict = float(episode.verdict.strict) if episode.over else None
        progress = self._milestone * (_potential(episode.verdict) - _potential(episode.before))
        cost = self._turn + self._call * episode.calls
        value = (1 - self._milestone) * (strict or 0.0) + progress - cost
        components = {"strict": strict, "progress": progress, "cost": -cost}
        return Score(max(-1.0, min(1.0, value)), components)


class FinalTaskReward:
    """One figure of the verdict at the end of the dialogue, 0 before.

    Args:
        name: ``task_success``, ``task_strict`` or ``milestones``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts = (_PARTS[name],)

    def grade(self, episode: ClosedEpisode) -> Score:
        """Score the turn that was just closed."""
        [part] = self.parts
        value = float(getattr(episode.verdict, part)) if episode.over else None
        return Score(value or 0.0, {part: value})


_PARTS = {"task_success": "success", "task_strict": "strict", "milestones": "milestones"}
TASK_REWARD_NAMES = ("task", *_PARTS)


def _potential(verdict: Verdict) -> float:
    return 0.0 if verdict.is_spoiled() else verdict.milestones


def make_task_reward(config: str | Mapping[str, Any] | TaskReward) -> TaskReward:
    """Make a reward for simulated dialogues.

    Args:
        config: one of `TASK_REWARD_NAMES`, ``{"name": "task", **options}``, or a `TaskReward`.

    Raises:
        ValueError: the name or an option is not known.
        TypeError: the object is not a reward.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        if not callable(getattr(config, "grade", None)):
            raise TypeError(
                f"reward must be one of {', '.join(TASK_REWARD_NAMES)}, a mapping with one, or an "
                f"object with a method grade(episode), not {type(config).__name__}"
            )
        return config
    options = dict(config)
    name = options.pop("name", None)
    if name not in TASK_REWARD_NAMES:
        raise ValueError(unknown_name("reward of SGDSim-v0", name, TASK_REWARD_NAMES))
    known = {"turn", "call", "milestone"} if name == "task" else set[str]()
    refuse_unknown(f"reward {name!r}", options, known)
    make: Callable[..., TaskReward] = ShapedTaskReward
    return make(**options) if name == "task" else FinalTaskReward(name)
