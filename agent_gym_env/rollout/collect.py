"""Playing a collection into a journal; the same call resumes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.journal.format import Kind
from agent_gym_env.rollout.journal.writing import SHARD_BYTES, Journal, open_journal
from agent_gym_env.rollout.runners import OpenPlayer, Runner


class Progress(msgspec.Struct, frozen=True):
    """Progress of a collection.

    Attributes:
        folder: folder of the journal.
        kind: kind of the records.
        jobs: number of jobs of the collection.
        done: number of jobs that are done.
        failed: number of jobs that failed.
        failed_branches: number of failed branches of the jobs that are done.
        records: number of records in the journal.
        spending: spending on all jobs, in this run and earlier ones.
        healed_bytes: size of unfinished lines that were cut off after kills.
        played: number of jobs played in this run, failed ones included.
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
        """Jobs per second in this run."""
        return self.played / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds until all jobs are done; ``None`` before the first job."""
        left = self.jobs - self.done - self.failed
        return left / self.per_s if self.played else None


def run_collection(
    collection: Collection,
    folder: Path,
    open_player: OpenPlayer,
    runner: Runner,
    *,
    retry_failed: bool = False,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Play the jobs that the journal does not contain yet.

    Whatever ends the process, finished jobs are in the journal, and the same call plays the rest.

    Args:
        collection: configuration of the collection.
        folder: folder of the journal.
        open_player: creates a worker; see `Runner.run`.
        runner: runner of the jobs.
        retry_failed: true to play failed jobs again.
        shard_bytes: size in bytes at which a new shard is begun.
        on_progress: called after each job.

    Raises:
        LockError: another process collects into this folder.
        ResumeMismatchError: the folder was begun with another configuration.
        StorageError: the disk is full or read-only, or a file of the journal is damaged.
        BudgetExceeded: the run has spent its budget; finished jobs are in the journal.
        CircuitOpenError: the provider refuses the key or is down; finished jobs are in the journal.
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
        with closing(runner.run(open_player, journal.pending())) as results:
            for result in results:
                journal.append(result.entry, result.records)
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
