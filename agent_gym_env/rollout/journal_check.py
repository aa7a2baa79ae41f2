"""Checking a journal: every line, every job once, every episode once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.rollout.episode_file import read_episodes
from agent_gym_env.rollout.manifest import MANIFEST, Kind, read_manifest, refuse_losses
from agent_gym_env.rollout.recovery import DONE, FAILED_JOB, Recovered
from agent_gym_env.rollout.spending import Spending


class JournalCheck(msgspec.Struct, frozen=True):
    """What a journal was found to hold; all of it is as it was written.

    Attributes:
        folder: of the journal.
        kind: of its records.
        jobs: how many were asked for.
        done: how many are there.
        failed: how many have failed, and not succeeded since.
        failed_branches: how many branches of jobs that are done have failed.
        records: how many are there.
        torn_bytes: of a last line that is not whole; going on with the run cuts it off.
        spending: on all jobs.
    """

    folder: str
    kind: Kind
    jobs: int
    done: int
    failed: int
    failed_branches: int
    records: int
    torn_bytes: int
    spending: Spending


def check_journal(folder: Path) -> JournalCheck:
    """Read a journal from end to end.

    Raises:
        DataError: the folder is not a journal, or a line is not an episode.
        StorageError: a line is not as it was written, or is missing, or something is there twice.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"there is no {MANIFEST}, so this is not a journal", file=str(folder))
    try:
        found = Recovered(folder, manifest, heal=False)
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error
    refuse_losses(folder, manifest, {shard.name: shard.records for shard in found.shards})
    if manifest.kind == "episodes":
        _check_once(folder)
    return JournalCheck(
        folder=str(folder),
        kind=manifest.kind,
        jobs=manifest.jobs,
        done=found.status.count(DONE),
        failed=found.status.count(FAILED_JOB),
        failed_branches=found.failed_branches,
        records=sum(shard.records for shard in found.shards),
        torn_bytes=found.torn_bytes,
        spending=found.spending,
    )


def _check_once(folder: Path) -> None:
    """Check that no dialogue was played twice by one policy with one seed."""
    # Digests, which take a few bytes each however long the names are.
    seen: set[bytes] = set()
    for episode in read_episodes(folder):
        key = (episode.split, episode.dialogue_id, episode.seed, episode.policy)
        digest = hashlib.blake2b(msgspec.json.encode(key), digest_size=12).digest()
        if digest in seen:
            raise StorageError(
                f"{folder}: dialogue {episode.dialogue_id} with seed {episode.seed} is there twice"
            )
        seen.add(digest)
