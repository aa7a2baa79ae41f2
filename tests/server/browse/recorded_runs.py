"""Journals for tests of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.format import Entry
from agent_gym_env.rollout.journal.writing import open_journal

CONFIG: dict[str, Any] = {
    "policies": [{"name": "agent"}],
    "world": {"corpus": "sample", "split": "test", "reward": {"name": "ground_truth"}},
}


def write_run(
    folder: Path,
    episodes: Sequence[Episode],
    *,
    first: int = 0,
    jobs: int = 1000,
    config: dict[str, Any] = CONFIG,
    shard_bytes: int = 64 << 20,
) -> Path:
    """Append episodes to a journal, as the jobs from ``first`` on."""
    with open_journal(
        folder, "episodes", config, jobs, retry_failed=True, shard_bytes=shard_bytes
    ) as journal:
        for job, episode in enumerate(episodes, first):
            failed = None if episode.error is None else episode.error.partition(":")[0]
            journal.append(Entry(job, error_class=failed), [msgspec.json.encode(episode)])
    return folder
