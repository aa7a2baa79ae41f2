"""Rows of what the teacher says in the sample corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.assembly import rollout
from agent_gym_env.export.from_episodes import conversations
from agent_gym_env.export.rows import Tally, write_rows


def write_sft_rows(path: Path, split: str, episodes: int | None = None) -> Path:
    """Write the oracle's conversations."""
    tally = Tally()
    played = rollout("oracle", split=split, reward="balanced", episodes=episodes)
    write_rows(path, conversations(played, tally), tally)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Read rows."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
