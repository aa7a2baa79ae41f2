"""The format of a journal: its manifest, its shards, and their lines.

A journal is a folder with ``manifest.json``, shards ``episodes-00000.jsonl`` … (or
``branches-00000.jsonl`` …), and ``failed.jsonl`` for jobs that failed. A line is a record as JSON,
with the entry of its job and a checksum in front:

    {"crc":"5ab1f0c3","job":17,"dialogue_id":"1_00017",…}

The fields of the record follow those of `Entry`, so that a reader of JSON lines can read records
and ignore the rest. The checksum is the CRC-32, in hexadecimal, of everything after its comma, up
to the end of the line.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.errors import DataError, ResumeMismatchError, StorageError
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.storage.files import read_file, sync_folder, written_whole

JOURNAL_FORMAT = 1
MANIFEST = "manifest.json"
FAILED = "failed.jsonl"
MAX_JOBS = 1_000_000_000
"""Largest number of jobs; a journal keeps a byte for each in memory."""
WORKER_DIED = "WorkerDied"
"""Error class of a job that killed its workers; such a job has no episode."""

Kind = Literal["episodes", "branches"]
"""Kind of the records in a journal."""

_HEAD = re.compile(rb'\{"crc":"([0-9a-f]{8})",')


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields of a line that are not part of its record.

    Attributes:
        job: number of the job in the run.
        part: number of the record among the records of its job.
        parts: number of records of the job.
        candidates: rewards of all episodes that were played for the job; the best is kept.
        spending: spending on the whole job, in its first part; ``None`` if no model was asked.
        error_class: class of the error if the job failed.
        failed_branches: number of failed branches of a job that did not fail.
    """

    job: int
    part: int = 0
    parts: int = 1
    candidates: tuple[float | None, ...] = ()
    spending: Spending | None = None
    error_class: str | None = None
    failed_branches: int = 0


_encode_entry = msgspec.json.Encoder().encode
_decode_entry = msgspec.json.Decoder(Entry).decode


def frame(entry: Entry, record: bytes) -> bytes:
    """Format a line.

    Args:
        entry: entry of the job.
        record: a JSON object with at least one field, none of them a field of `Entry`.
    """
    rest = b"%b,%b" % (_encode_entry(entry)[1:-1], record[1:])
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(rest), rest)


def is_framed(line: bytes) -> bool:
    """Return whether a line begins like a line of a journal."""
    return _HEAD.match(line) is not None


def is_whole(line: bytes) -> bool:
    """Return whether a line, with or without its line break, matches its checksum."""
    head = _HEAD.match(line)
    if head is None:
        return False
    # A view, not a copy: all lines of a journal pass here.
    rest = memoryview(line)[head.end() : len(line) - line.endswith(b"\n")]
    return zlib.crc32(rest) == int(head[1], 16)


def entry_of(line: bytes) -> Entry:
    """Decode the entry of a line.

    Raises:
        msgspec.DecodeError: the line is not a line of a journal.
    """
    return _decode_entry(line)


class Shard(msgspec.Struct, frozen=True):
    """A file of records.

    Attributes:
        name: name of the file.
        records: number of lines.
        size_bytes: size of the file.
    """

    name: str
    records: int
    size_bytes: int

    def grown(self, records: int, size_bytes: int) -> Shard:
        """Return the shard after lines were appended."""
        return Shard(self.name, self.records + records, self.size_bytes + size_bytes)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Configuration of a run, and how far it was when the manifest was written.

    The manifest is written when a shard is begun and when a run ends. If it differs from the
    shards, the shards are right.

    Attributes:
        kind: kind of the records.
        config: everything that determines the records, as JSON values.
        fingerprint: SHA-256 of ``config``.
        jobs: number of jobs.
        done: number of jobs whose records are in the shards.
        failed: number of jobs that failed and have not succeeded since.
        failed_branches: number of failed branches of the jobs that are done.
        is_complete: true if each job is done or has failed.
        records: number of lines in all shards.
        spending: spending on all jobs, failed ones included.
        healed_bytes: size of unfinished lines that were cut off after kills.
        shards: shards in order.
        format: version of the journal's format.
        checksum: CRC-32 of all other fields.
    """

    kind: Kind
    config: dict[str, Any]
    fingerprint: str
    jobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_JOBS)]
    done: int = 0
    failed: int = 0
    failed_branches: int = 0
    is_complete: bool = False
    records: int = 0
    spending: Spending = Spending()
    healed_bytes: int = 0
    shards: tuple[Shard, ...] = ()
    format: int = JOURNAL_FORMAT
    checksum: str = ""

    def with_checksum(self) -> Manifest:
        """Return the manifest with its checksum."""
        blank = msgspec.json.encode(msgspec.structs.replace(self, checksum=""))
        return msgspec.structs.replace(self, checksum=f"{zlib.crc32(blank):08x}")


def fingerprint(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a configuration; the order of its keys does not matter."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """Read a journal's manifest; return ``None`` if the folder has none.

    Raises:
        StorageError: the manifest is damaged, or of another version.
    """
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return None
    try:
        content = read_file(path)
    except DataError as error:
        raise StorageError(f"cannot read {path}: {error.problem}") from error
    try:
        version = msgspec.json.decode(content, type=_Versioned).format
        if version != JOURNAL_FORMAT:
            raise StorageError(
                f"{path} is of format {version}; this version reads {JOURNAL_FORMAT}. Collect "
                "into another folder"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"{path} is not the manifest of a journal: {error}") from error
    if manifest != manifest.with_checksum():
        raise StorageError(f"{path} is damaged: its checksum differs. Restore it")
    return manifest


class _Versioned(msgspec.Struct):
    format: int


def read_begun(folder: Path) -> Manifest | None:
    """Read the manifest of a journal that has or had records; return ``None`` for any other.

    Raises:
        StorageError: the manifest is damaged, or of another version.
    """
    manifest = read_manifest(folder)
    if manifest is None or manifest.shards or shard_paths(folder, manifest.kind):
        return manifest
    return manifest if (folder / FAILED).exists() else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest as a whole.

    Raises:
        StorageError: the disk is full or read-only.
    """
    content = msgspec.json.encode(manifest.with_checksum())
    with written_whole(folder / MANIFEST) as file:
        file.write(msgspec.json.format(content, indent=2) + b"\n")
    sync_folder(folder)


def shard_name(kind: Kind, number: int) -> str:
    """Return the name of a shard's file."""
    return f"{kind}-{number:05}.jsonl"


def shard_paths(folder: Path, kind: Kind) -> list[Path]:
    """Return the paths of a journal's shards, in order.

    Raises:
        StorageError: a shard is missing, or the folder cannot be read.
    """
    pattern = re.compile(rf"{kind}-\d{{5,}}\.jsonl")
    try:
        found = {name for name in os.listdir(folder) if pattern.fullmatch(name)}
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from error
    expected = [shard_name(kind, number) for number in range(len(found))]
    missing = [name for name in expected if name not in found]
    if missing:
        raise StorageError(
            f"{folder / missing[0]} is missing. Restore it, or collect again into another folder"
        )
    return [folder / name for name in expected]


def refuse_losses(folder: Path, manifest: Manifest, lines: Mapping[str, int]) -> None:
    """Check that each shard still has the lines that it had when the manifest was written.

    Args:
        folder: folder of the journal.
        manifest: manifest that was read before the shards, which may have grown since.
        lines: number of lines of each shard, by name.

    Raises:
        StorageError: a shard has fewer lines.
    """
    for shard in manifest.shards:
        found = lines.get(shard.name, 0)
        if found < shard.records:
            raise StorageError(
                f"{folder / shard.name} has {found} lines, and had {shard.records}. Restore it, or "
                "run the same `agent-gym rollout` command again: it collects what is missing"
            )


def check_same_run(manifest: Manifest, config: Mapping[str, Any], folder: Path) -> None:
    """Check that a configuration is the one that a journal was begun with.

    Raises:
        ResumeMismatchError: it is another one; names the differences.
    """
    if manifest.fingerprint == fingerprint(config):
        return
    found = "; ".join(differences(manifest.config, config))
    raise ResumeMismatchError(
        f"{folder} was begun with another configuration: {found}. Use the same "
        "configuration to resume, or another folder"
    )


def free_folder(folder: Path, config: Mapping[str, Any]) -> Path:
    """Return the first of ``folder``, ``folder-2``, … that is empty or has this configuration."""
    others = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    for candidate in itertools.chain([folder], others):
        manifest = read_begun(candidate)
        if manifest is None or manifest.fingerprint == fingerprint(config):
            break
    return candidate


def differences(there: Mapping[str, Any], here: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Yield each setting that differs, with both values; ``at`` is the place of both mappings."""
    for key in sorted(there.keys() | here.keys()):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{at}{key}.")
        elif old != new:
            yield f"{at}{key} is {_shown(old)} there and {_shown(new)} here"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()
