"""Writing a journal: an appended job survives whatever ends the process.

One process writes. Each job is appended by one write and is on the disk within a second. Killing
the process loses no job that was appended; a loss of power loses at most the last second. When the
journal is opened again, a job that a kill left unfinished is cut off. The files are described in
`agent_gym_env.rollout.journal.format`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import StorageError
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.format import (
    FAILED,
    MANIFEST,
    Entry,
    Kind,
    Manifest,
    Shard,
    check_same_run,
    fingerprint,
    frame,
    read_begun,
    shard_name,
    shard_paths,
    write_manifest,
)
from agent_gym_env.rollout.journal.recovery import DONE, FAILED_JOB, PENDING, Recovered
from agent_gym_env.storage.files import locked, remove_unfinished, sync_folder

SHARD_BYTES = 64 << 20
_LOCK = "journal.lock"
_WAIT_FOR_LOCK_S = 0.5
_SYNC_EVERY_S = 1.0


@contextlib.contextmanager
def open_journal(
    folder: Path,
    kind: Kind,
    config: Mapping[str, Any],
    jobs: int,
    *,
    retry_failed: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Iterator[Journal]:
    """Begin a journal, or resume one.

    Args:
        folder: folder of the journal; created if it does not exist.
        kind: kind of the records.
        config: everything that determines the records, as JSON values.
        jobs: number of jobs.
        retry_failed: true to make failed jobs pending again.
        shard_bytes: size in bytes at which a new shard is begun.

    Raises:
        LockError: another process collects into this folder.
        ResumeMismatchError: the journal was begun with another configuration.
        StorageError: a line is damaged, or the disk is full or read-only.
    """
    with locked(folder / _LOCK, wait_s=_WAIT_FOR_LOCK_S):
        manifest = _same_run(folder, kind, config)
        if manifest is None:
            manifest = Manifest(kind, dict(config), fingerprint(config), jobs)
            write_manifest(folder, manifest)
        remove_unfinished(folder, MANIFEST)
        with _storage_named(folder):
            journal = Journal(folder, manifest, retry_failed=retry_failed, shard_bytes=shard_bytes)
        try:
            yield journal
        finally:
            journal.close()


def _same_run(folder: Path, kind: Kind, config: Mapping[str, Any]) -> Manifest | None:
    manifest = read_begun(folder)
    if manifest is not None:
        check_same_run(manifest, config, folder)
    elif shard_paths(folder, kind):
        raise StorageError(
            f"{folder} has {kind} but no {MANIFEST}. Restore it, or choose another folder"
        )
    return manifest


class Journal:
    """An open journal, as `open_journal` returns it.

    Attributes:
        folder: folder of the journal.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, *, retry_failed: bool, shard_bytes: int
    ) -> None:
        self.folder = folder
        self._written = msgspec.structs.replace(manifest, checksum="")
        self._shard_bytes = shard_bytes
        found = Recovered(folder, manifest, heal=True)
        self._status = found.status
        if retry_failed:
            self._status = found.status.replace(bytes([FAILED_JOB]), bytes([PENDING]))
        self._failed_branches = found.failed_branches
        self._spending = found.spending
        self._healed_bytes = manifest.healed_bytes + found.torn_bytes
        self._shards = found.shards
        self._shard = _Appendable(folder / self._shards[-1].name) if self._shards else None
        self._failures = _Appendable(folder / FAILED)
        self._synced_at = time.monotonic()
        self._is_broken = False
        # Before anything is appended, so that a reader never finds a journal complete that is not.
        self._note()

    @property
    def manifest(self) -> Manifest:
        """The manifest as of now."""
        done, failed = self._status.count(DONE), self._status.count(FAILED_JOB)
        return msgspec.structs.replace(
            self._written,
            done=done,
            failed=failed,
            failed_branches=self._failed_branches,
            is_complete=done + failed == self._written.jobs,
            records=sum(shard.records for shard in self._shards),
            spending=self._spending,
            healed_bytes=self._healed_bytes,
            shards=tuple(self._shards),
        )

    def pending(self) -> Iterator[int]:
        """Yield the numbers of pending jobs in order, each once, while jobs are appended."""
        job = self._status.find(PENDING)
        while job >= 0:
            yield job
            job = self._status.find(PENDING, job + 1)

    def append(self, entry: Entry, records: Sequence[bytes]) -> None:
        """Append a job.

        Args:
            entry: entry of the job; its parts are numbered here.
            records: at least one JSON object.

        Raises:
            StorageError: the disk is full or read-only; what was appended before is safe.
        """
        lines = b"".join(_lines(entry, records))
        with self._writing():
            if entry.error_class is not None:
                self._failures.append(lines)
            else:
                self._growing_shard().append(lines)
                self._shards[-1] = self._shards[-1].grown(len(records), len(lines))
            self._status[entry.job] = DONE if entry.error_class is None else FAILED_JOB
            self._failed_branches += entry.failed_branches
            self._spending += entry.spending or Spending()
            if time.monotonic() - self._synced_at >= _SYNC_EVERY_S:
                self._sync()

    def close(self) -> None:
        """Write everything to the disk; after a failed write, leave the files as they are."""
        with contextlib.ExitStack() as files:
            for file in self._files():
                files.callback(file.close)
            if not self._is_broken:
                with self._writing():
                    self._sync()
                    self._note()

    def _growing_shard(self) -> _Appendable:
        if self._shard is not None:
            if self._shards[-1].size_bytes < self._shard_bytes:
                return self._shard
            self._sync()
            self._shard.close()
            self._note()
        self._shards.append(Shard(shard_name(self._written.kind, len(self._shards)), 0, 0))
        self._shard = _Appendable(self.folder / self._shards[-1].name)
        return self._shard

    def _files(self) -> Sequence[_Appendable]:
        return [file for file in (self._shard, self._failures) if file is not None]

    def _sync(self) -> None:
        for file in self._files():
            file.sync()
        self._synced_at = time.monotonic()

    def _note(self) -> None:
        manifest = self.manifest
        if manifest != self._written:
            write_manifest(self.folder, manifest)
            self._written = manifest

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with _storage_named(self.folder):
                yield
        except StorageError:
            self._is_broken = True
            raise


class _Appendable:
    """A file that only grows; its first line creates it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._is_synced = True

    def append(self, lines: bytes) -> None:
        if self._descriptor is None:
            is_new = not self._path.exists()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self._path, flags, 0o666)
            if is_new:
                sync_folder(self._path.parent)
        self._is_synced = False
        rest = memoryview(lines)
        while rest:
            # A single write, unless the disk is nearly full; then the next write raises.
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        if self._descriptor is not None and not self._is_synced:
            os.fsync(self._descriptor)
            self._is_synced = True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lines(entry: Entry, records: Sequence[bytes]) -> Iterator[bytes]:
    for part, record in enumerate(records):
        about = entry if part == 0 else Entry(entry.job)
        yield frame(msgspec.structs.replace(about, part=part, parts=len(records)), record)


@contextlib.contextmanager
def _storage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror or error}. Make room there; the same "
            "command resumes from what was written"
        ) from error
