"""A trainer as a user writes it, without the libraries that the package's own need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agent_gym_env.training.trainers import Trainer


class LengthsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a run.

    Attributes:
        rows: files with rows.
        scale: factor of each length.
        weights: weight of each role.
    """

    rows: tuple[str, ...]
    scale: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    weights: dict[str, float] = {}


def train_lengths(config: LengthsConfig, *, out: Path, **options: Any) -> Path:
    """Write the mean length of a row."""
    out.mkdir(parents=True, exist_ok=True)
    lengths = [len(line) for path in config.rows for line in Path(path).read_text().splitlines()]
    report = {
        "mean_length": config.scale * sum(lengths) / len(lengths),
        "weights": config.weights,
        "resume": options["resume"],
    }
    (out / "report.json").write_text(json.dumps(report))
    return out / "model"


LENGTHS = Trainer(
    help="measure rows",
    config=f"{__name__}:LengthsConfig",
    train=f"{__name__}:train_lengths",
)
"""The trainer."""

LOST = Trainer(help="find nothing", config="no_such_module:Config", train="no_such_module:train")
"""A trainer whose settings do not exist."""

NUMBER = 7
"""Not a trainer."""
