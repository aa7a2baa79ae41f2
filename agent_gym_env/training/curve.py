"""The learning curve of a PPO run: the rewards of the policy during the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Estimate
from agent_gym_env.storage.files import read_file, written_whole


class CurvePoint(msgspec.Struct, frozen=True):
    """One evaluation during training.

    Attributes:
        stage: ``initial`` (before anything was learned), ``cloned`` or ``policy``.
        steps: steps that PPO has taken so far.
        cpu_s: CPU seconds of training so far, without evaluations.
        reward: reward per turn, with its 95 % interval over dialogues.
        strict: strict success with its interval; ``None`` for recorded dialogues.
    """

    stage: str
    steps: int
    cpu_s: float
    reward: Estimate
    strict: Estimate | None = None


def write_curve(path: Path, points: Sequence[CurvePoint]) -> None:
    """Write a learning curve as JSON lines.

    Raises:
        StorageError: the file cannot be written.
    """
    with written_whole(path) as file:
        file.writelines(msgspec.json.encode(point) + b"\n" for point in points)


def read_curve(path: Path) -> list[CurvePoint]:
    """Read a learning curve.

    Raises:
        DataError: the file cannot be read, or is not a learning curve.
    """
    try:
        return msgspec.json.Decoder(CurvePoint).decode_lines(read_file(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"not a learning curve: {error}", file=str(path)) from error
