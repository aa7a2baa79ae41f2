"""What happens in an optimisation, as a user interface is told it.

Every event is a JSON object with ``kind`` and ``elapsed_s``; see docs/reference/events.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Phase = Literal["baseline", "search", "optimized"]
"""The untouched program on held-out turns; the optimiser at work; its program on the same turns."""


class _Event(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """What all events have.

    Attributes:
        elapsed_s: wall-clock seconds since the run began.
    """

    elapsed_s: float


class Started(_Event, frozen=True, tag="started", kw_only=True):
    """A run begins.

    Attributes:
        strategy: its name.
        model: that the program asks.
        reward: that turns are scored by.
        train_turns: how many examples the optimiser learns from.
        validation_turns: how many it chooses between programs by.
        held_out_turns: how many the result is measured on.
    """

    strategy: str
    model: str
    reward: str
    train_turns: int
    validation_turns: int
    held_out_turns: int


class PhaseBegan(_Event, frozen=True, tag="phase", kw_only=True):
    """A part of the run begins.

    Attributes:
        phase: which.
    """

    phase: Phase


class TurnScored(_Event, frozen=True, tag="turn", kw_only=True):
    """A program has played a turn. There are many of these: a result does not keep them.

    Attributes:
        phase: in which part.
        turn: ``dialogue_id#turn``.
        reward: in [0, 1]; ``None`` where it could not be told.
        calls: of models, since the run began.
        cost_usd: of them, as far as prices are known.
    """

    phase: Phase
    turn: str
    reward: float | None
    calls: int
    cost_usd: float


class ProgramScored(_Event, frozen=True, tag="program", kw_only=True):
    """The optimiser has tried a program on several turns.

    Attributes:
        reward: mean over the turns, where an unknown reward counts 0.
        turns: how many.
        instructions: of the program.
        demos: how many demonstrations its prompt carries.
    """

    reward: float
    turns: int
    instructions: str
    demos: int


class Finished(_Event, frozen=True, tag="finished", kw_only=True):
    """The run is over, and its files are written.

    Attributes:
        baseline: mean reward of the untouched program on the held-out turns.
        optimized: of the optimised one.
        improvement_pct: relative to the baseline; ``None`` where that is 0 or unknown.
        program_path: the program.
        result_path: the result.
    """

    baseline: float | None
    optimized: float | None
    improvement_pct: float | None
    program_path: str
    result_path: str


class Stopped(_Event, frozen=True, tag="stopped", kw_only=True):
    """The run was broken off; what it asked for is in the cache, and the next run begins there.

    Attributes:
        reason: ``Class: message``.
    """

    reason: str


Event = Started | PhaseBegan | TurnScored | ProgramScored | Finished | Stopped

Callback = Callable[[Event], None]
"""Is told events as they happen, one at a time, from whatever thread; an exception of its ends the
run."""
