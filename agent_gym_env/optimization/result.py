"""What an optimisation came to: measured, reproducible, in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Difference, Estimate
from agent_gym_env.optimization.events import Event
from agent_gym_env.optimization.meter import CallCounts
from agent_gym_env.storage.files import read_file, written_whole

RESULT_FORMAT = 1


class HeldOutScore(msgspec.Struct, frozen=True):
    """What a program earned on the held-out turns.

    Attributes:
        reward: per turn, with its interval over dialogues.
        components: each part of the reward, over the turns where it applies.
        rewards: turn by turn; ``None`` where it could not be told.
    """

    reward: Estimate
    components: dict[str, Estimate]
    rewards: dict[str, float | None]


class Turns(msgspec.Struct, frozen=True):
    """Which turns served what, each ``dialogue_id#turn``.

    Attributes:
        train: the optimiser learnt from.
        validation: the optimiser chose by.
        held_out: the result is measured on; of dialogues that serve nothing else.
        train_split: that the first two are of.
        held_out_split: that the last are of.
        corpora: fingerprint by split.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    held_out: tuple[str, ...]
    train_split: str
    held_out_split: str
    corpora: dict[str, str]


class OptimizationResult(msgspec.Struct, frozen=True):
    """What an optimisation came to.

    Attributes:
        strategy: its name.
        baseline: the untouched program.
        optimized: the optimised program, on the same turns.
        difference: of the two in reward per turn, paired by turn: optimised minus baseline.
        improvement_pct: of the mean reward, relative to the baseline; ``None`` where that is 0 or
            unknown.
        initial_prompt: the instructions before.
        optimized_prompt: the instructions after.
        few_shot_demos: the demonstrations, field by field.
        events: what happened, without the single turns.
        counts: what was asked of models, and what it cost.
        turns: what served what.
        settings: the arguments of the run.
        versions: of the libraries that decide what comes out.
        program_path: where the program was written.
        duration_s: wall-clock seconds.
        format: of this record.
    """

    strategy: str
    baseline: HeldOutScore
    optimized: HeldOutScore
    difference: Difference
    improvement_pct: float | None
    initial_prompt: str
    optimized_prompt: str
    few_shot_demos: tuple[dict[str, str], ...]
    events: tuple[Event, ...]
    counts: CallCounts
    turns: Turns
    settings: dict[str, Any]
    versions: dict[str, str]
    program_path: str
    duration_s: float
    format: int = RESULT_FORMAT

    def save(self, path: str | Path) -> None:
        """Write the result; the file is whole or not there.

        Raises:
            StorageError: the disk does not take it.
        """
        with written_whole(Path(path)) as file:
            file.write(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def load(cls, path: str | Path) -> OptimizationResult:
        """Read a result.

        Raises:
            DataError: the file is none of this version's format.
        """
        try:
            result = msgspec.json.decode(read_file(path), type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"this is no result of an optimisation: {error}", file=str(path)) from (
                error
            )
        if result.format != RESULT_FORMAT:
            raise DataError(
                f"the result's format is {result.format}; this version reads {RESULT_FORMAT}",
                file=str(path),
            )
        return result


def improvement_pct(baseline: float | None, optimized: float | None) -> float | None:
    """Give the change of a mean in percent of the first; ``None`` where that is 0 or unknown."""
    if not baseline or optimized is None:
        return None
    return 100 * (optimized - baseline) / baseline
