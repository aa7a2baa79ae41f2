"""Collecting episodes into a journal: resumable, each once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from agent_gym_env.rollout.collection import Collection
from agent_gym_env.rollout.journal import open_journal
from agent_gym_env.rollout.manifest import Manifest
from agent_gym_env.rollout.runners import OpenPlayer, Runner


class Progress(msgspec.Struct, frozen=True):
    """How far a collection has come.

    Attributes:
        manifest: what is there.
        played: jobs of this run, those that failed included.
        elapsed_s: wall-clock seconds of this run.
    """

    manifest: Manifest
    played: int
    elapsed_s: float

    @property
    def per_s(self) -> float:
        """Jobs in a second."""
        return self.played / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds until all is there at this rate; ``None`` while none is played."""
        left = self.manifest.jobs - self.manifest.done - self.manifest.failed
        return left / self.per_s if self.played else None


def collect(
    collection: Collection,
    folder: Path,
    open_player: OpenPlayer,
    runner: Runner,
    *,
    retry_failed: bool = False,
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
        on_progress: is told after each job.

    Raises:
        LockError: another process collects into this folder.
        ResumeMismatchError: the folder was begun with another configuration.
        StorageError: the disk does not take it, or a file there is damaged.
        BudgetExceeded: the run has spent what it may spend; what was played is there.
        CircuitOpenError: the provider keeps refusing the key; likewise.
    """
    begin = time.perf_counter()
    played = 0
    with open_journal(
        folder, collection.kind, collection.as_json(), collection.jobs, retry_failed=retry_failed
    ) as journal:
        with closing(runner.run(open_player, journal.pending())) as outcomes:
            for outcome in outcomes:
                journal.append(outcome.entry, outcome.records)
                played += 1
                if on_progress is not None:
                    elapsed_s = time.perf_counter() - begin
                    on_progress(Progress(journal.manifest, played, elapsed_s))
        return Progress(journal.manifest, played, time.perf_counter() - begin)
