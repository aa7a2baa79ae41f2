"""Contents of a journal: recovering them after a kill, and checking them from end to end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.format import (
    FAILED,
    MANIFEST,
    Entry,
    Kind,
    Manifest,
    Shard,
    entry_of,
    read_manifest,
    refuse_losses,
    shard_paths,
)
from agent_gym_env.rollout.journal.reading import read_episodes, shard_lines

PENDING, DONE, FAILED_JOB = 0, 1, 2


class Recovered:
    """Contents of a journal.

    Args:
        folder: folder of the journal.
        manifest: manifest of the journal.
        heal: true to cut off unfinished lines; only while no other process writes.

    Attributes:
        status: status of each job, a byte: `PENDING`, `DONE` or `FAILED_JOB`.
        shards: shards in order; the last one grows.
        failed_branches: number of failed branches of the jobs that are done.
        spending: spending on all jobs.
        torn_bytes: size of the lines that a kill left unfinished.

    Raises:
        StorageError: a line is damaged, or a job occurs twice.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, heal: bool) -> None:
        self.status = bytearray(manifest.jobs)
        self.shards: list[Shard] = []
        self.failed_branches = 0
        self.spending = Spending()
        self.torn_bytes = 0
        self._heal = heal
        self._read_shards(folder, manifest)
        self._read_failures(folder / FAILED)

    def _read_shards(self, folder: Path, manifest: Manifest) -> None:
        paths = shard_paths(folder, manifest.kind)
        for path in paths:
            shard = Shard(path.name, 0, 0)
            for job in _whole_jobs(path, is_last=path == paths[-1]):
                self._mark(job.entry, job.place, DONE)
                shard = shard.grown(job.entry.parts, job.size_bytes)
            self._cut(path, shard.size_bytes)
            self.shards.append(shard)

    def _read_failures(self, path: Path) -> None:
        if not path.exists():
            return
        end = 0
        for job in _whole_jobs(path, is_last=True):
            self._mark(job.entry, job.place, FAILED_JOB)
            end += job.size_bytes
        self._cut(path, end)

    def _mark(self, entry: Entry, place: str, status: int) -> None:
        self.spending += entry.spending or Spending()
        self.failed_branches += entry.failed_branches
        if not 0 <= entry.job < len(self.status):
            raise StorageError(
                f"{place}: job {entry.job} is not one of this run's {len(self.status)}"
            )
        if status == FAILED_JOB:
            # A job may fail more than once before it succeeds.
            self.status[entry.job] = self.status[entry.job] or FAILED_JOB
        elif self.status[entry.job]:
            raise StorageError(f"{place}: job {entry.job} occurs twice")
        else:
            self.status[entry.job] = DONE

    def _cut(self, path: Path, end: int) -> None:
        torn = path.stat().st_size - end
        if torn and self._heal:
            os.truncate(path, end)
        self.torn_bytes += torn


class _Job(NamedTuple):
    """A job with all its lines: entry and place of the first, and the size of all."""

    entry: Entry
    place: str
    size_bytes: int


def _whole_jobs(path: Path, *, is_last: bool) -> Iterator[_Job]:
    """Yield the complete jobs of a file; only the last job of the last file may be incomplete.

    Raises:
        StorageError: a line is damaged, or a job is incomplete.
    """
    first: tuple[Entry, str] | None = None
    part = size_bytes = 0
    for place, line in shard_lines(path, is_last=is_last):
        entry = _entry(line, place)
        if entry.part != part:
            raise StorageError(f"{place}: part {part} of a job is missing before this line")
        first = first or (entry, place)
        part, size_bytes = part + 1, size_bytes + len(line)
        if part == entry.parts:
            yield _Job(*first, size_bytes)
            first, part, size_bytes = None, 0, 0
    if part and not is_last:
        raise StorageError(f"{path}: the last job is incomplete")


def _entry(line: bytes, place: str) -> Entry:
    try:
        return entry_of(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"{place}: this line is not a journal record: {error}") from error


class JournalCheck(msgspec.Struct, frozen=True):
    """Contents of a journal that was found intact.

    Attributes:
        folder: folder of the journal.
        kind: kind of its records.
        jobs: number of jobs.
        done: number of jobs whose records are there.
        failed: number of jobs that failed and have not succeeded since.
        failed_branches: number of failed branches of the jobs that are done.
        records: number of records.
        torn_bytes: size of an unfinished last line; resuming the run cuts it off.
        spending: spending on all jobs.
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
    """Read a journal from end to end and check every line.

    Raises:
        DataError: the folder is not a journal, or a line is not an episode.
        StorageError: a line is damaged or missing, or a job or an episode occurs twice.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"the folder has no {MANIFEST}, so it is not a journal", file=str(folder))
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
    """Check that no policy played a dialogue twice with the same seed."""
    # Digests take a few bytes each, however long the names are.
    seen: set[bytes] = set()
    for episode in read_episodes(folder):
        key = (episode.split, episode.dialogue_id, episode.seed, episode.policy)
        digest = hashlib.blake2b(msgspec.json.encode(key), digest_size=12).digest()
        if digest in seen:
            raise StorageError(
                f"{folder}: dialogue {episode.dialogue_id} with seed {episode.seed} occurs twice"
            )
        seen.add(digest)
