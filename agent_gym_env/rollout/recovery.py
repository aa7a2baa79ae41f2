"""What a journal holds when it is opened; what a kill left unfinished is cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent_gym_env.errors import StorageError
from agent_gym_env.rollout.framing import Entry, entry_of
from agent_gym_env.rollout.manifest import FAILED, Manifest, Shard, shard_paths
from agent_gym_env.rollout.record_lines import shard_lines
from agent_gym_env.rollout.spending import Spending

PENDING, DONE, FAILED_JOB = 0, 1, 2


class Recovered:
    """What a journal holds.

    Args:
        folder: of the journal.
        manifest: says what was asked for.
        heal: whether what is unfinished is cut off; only while no other process writes.

    Attributes:
        status: of each job, a byte: `PENDING`, `DONE` or `FAILED_JOB`.
        shards: in order, the last one being the one that grows.
        failed_branches: of all jobs that are done.
        spending: on all jobs.
        torn_bytes: of lines that a kill left unfinished.

    Raises:
        StorageError: a line is not as it was written, or a job is there twice.
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
            raise StorageError(f"{place}: job {entry.job} is not of this run's {len(self.status)}")
        if status == FAILED_JOB:
            # A job may fail more than once, and succeed at last.
            self.status[entry.job] = self.status[entry.job] or FAILED_JOB
        elif self.status[entry.job]:
            raise StorageError(f"{place}: job {entry.job} is there twice")
        else:
            self.status[entry.job] = DONE

    def _cut(self, path: Path, end: int) -> None:
        torn = path.stat().st_size - end
        if torn and self._heal:
            os.truncate(path, end)
        self.torn_bytes += torn


class _Job(NamedTuple):
    """A job whose lines are all there: its first one's entry and place, and the bytes of all."""

    entry: Entry
    place: str
    size_bytes: int


def _whole_jobs(path: Path, *, is_last: bool) -> Iterator[_Job]:
    """Read the jobs of a file; what is missing of the last one of the last file is no error.

    Raises:
        StorageError: a line is not as it was written, or a job is not whole.
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
        raise StorageError(f"{path}: the last job is not whole")


def _entry(line: bytes, place: str) -> Entry:
    try:
        return entry_of(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"{place}: this line is not a journal record: {error}") from error
