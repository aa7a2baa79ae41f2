"""Collecting episodes into a journal: resumable, each once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from agent_gym_env.rollout.collection import Collection
from agent_gym_env.rollout.journal import SHARD_BYTES, Journal, open_journal
from agent_gym_env.rollout.manifest import Kind
from agent_gym_env.rollout.runners import OpenPlayer, Runner
from agent_gym_env.rollout.spending import Spending


class Progress(msgspec.Struct, frozen=True):
    """How far a collection has come.

    Attributes:
        folder: of the journal.
        kind: of the records.
        jobs: how many were asked for.
        done: how many are there.
        failed: how many have failed.
        failed_branches: how many branches of jobs that are done have failed.
        records: how many are there.
        spending: of all jobs, on this run and those before it.
        healed_bytes: of lines that kills had left unfinished.
        played: jobs of this run, failed ones too.
        elapsed_s: wall-clock seconds of this run.
    """

    folder: str
    kind: Kind
    jobs: int
    done: int
    failed: int
    failed_branches: int
    records: int
    spending: Spending
    healed_bytes: int
    played: int
    elapsed_s: float

    @property
    def per_s(self) -> float:
        """Jobs in a second of this run."""
        return self.played / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds until all is there, at this rate; ``None`` while none is played."""
        left = self.jobs - self.done - self.failed
        return left / self.per_s if self.played else None


def collect(
    collection: Collection,
    folder: Path,
    open_player: OpenPlayer,
    runner: Runner,
    *,
    retry_failed: bool = False,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Play what is not yet in a folder's journal.

    Whatever ends the process, what was played is there, and the same call plays the rest.

    Args:
        collection: what is to be there.
        folder: of the journal.
        open_player: makes who plays; see `Runner.run`.
        runner: who plays.
        retry_failed: whether jobs that have failed are played again.
        shard_bytes: a file that has so many does not grow any more.
        on_progress: is told after each job.

    Raises:
        LockError: another process collects into this folder.
        ResumeMismatchError: the folder was begun with another configuration.
        StorageError: the disk does not take it, or a file there is damaged.
        BudgetExceeded: the run has spent what it may spend; what was played is there.
        CircuitOpenError: the provider refuses the key or is down; what was played is there.
    """
    begin = time.perf_counter()
    played = 0
    with open_journal(
        folder,
        collection.kind,
        collection.as_json(),
        collection.jobs,
        retry_failed=retry_failed,
        shard_bytes=shard_bytes,
    ) as journal:
        with closing(runner.run(open_player, journal.pending())) as outcomes:
            for outcome in outcomes:
                journal.append(outcome.entry, outcome.records)
                played += 1
                if on_progress is not None:
                    on_progress(_progress(journal, played, begin))
        return _progress(journal, played, begin)


def _progress(journal: Journal, played: int, begin: float) -> Progress:
    now = journal.manifest
    return Progress(
        folder=str(journal.folder),
        kind=now.kind,
        jobs=now.jobs,
        done=now.done,
        failed=now.failed,
        failed_branches=now.failed_branches,
        records=now.records,
        spending=now.spending,
        healed_bytes=now.healed_bytes,
        played=played,
        elapsed_s=time.perf_counter() - begin,
    )
