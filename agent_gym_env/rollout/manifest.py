"""What a collector's journal says about itself, in ``manifest.json``."""

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
from agent_gym_env.rollout.spending import Spending
from agent_gym_env.storage.files import read_file, sync_folder, written_whole

JOURNAL_FORMAT = 1
MANIFEST = "manifest.json"
FAILED = "failed.jsonl"
MAX_JOBS = 1_000_000_000
"""A journal keeps a byte for each job in memory."""

Kind = Literal["episodes", "branches"]


class Shard(msgspec.Struct, frozen=True):
    """A file of records.

    Attributes:
        name: of the file.
        records: lines in it.
        size_bytes: of the file.
    """

    name: str
    records: int
    size_bytes: int

    def grown(self, records: int, size_bytes: int) -> Shard:
        """Give the shard with more in it."""
        return Shard(self.name, self.records + records, self.size_bytes + size_bytes)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for, and how much of it is there.

    The numbers are those of the last time that a shard was begun or a run ended; the shards
    themselves are the truth.

    Attributes:
        kind: of the records.
        config: everything that decides the records, in JSON values.
        fingerprint: SHA-256 of ``config``.
        jobs: how many were asked for.
        done: how many have their records here.
        failed: how many have failed, and not succeeded since.
        failed_branches: how many branches of jobs that are done have failed.
        is_complete: whether each job is done or has failed.
        records: lines in all shards.
        spending: of all jobs, failed ones too.
        healed_bytes: of lines that were cut off because a kill had left them unfinished.
        shards: in order.
        format: version of the journal's shape.
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
        """Give the manifest with its checksum."""
        blank = msgspec.json.encode(msgspec.structs.replace(self, checksum=""))
        return msgspec.structs.replace(self, checksum=f"{zlib.crc32(blank):08x}")


def fingerprint(config: Mapping[str, Any]) -> str:
    """Give the SHA-256 of a configuration, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """Read a journal's manifest; ``None`` where there is none.

    Raises:
        StorageError: it is damaged, or of another version.
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
        raise StorageError(f"{path} is no manifest of a journal: {error}") from error
    if manifest != manifest.with_checksum():
        raise StorageError(f"{path} is not as it was written: its checksum differs. Restore it")
    return manifest


class _Versioned(msgspec.Struct):
    format: int


def read_begun(folder: Path) -> Manifest | None:
    """Read the manifest of a journal that holds, or has held, something; ``None`` for any other.

    Raises:
        StorageError: it is damaged, or of another version.
    """
    manifest = read_manifest(folder)
    if manifest is None or manifest.shards or shard_paths(folder, manifest.kind):
        return manifest
    return manifest if (folder / FAILED).exists() else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in place, whole.

    Raises:
        StorageError: the disk does not take it.
    """
    content = msgspec.json.encode(manifest.with_checksum())
    with written_whole(folder / MANIFEST) as file:
        file.write(msgspec.json.format(content, indent=2) + b"\n")
    sync_folder(folder)


def shard_name(kind: Kind, number: int) -> str:
    """Name the file of a shard."""
    return f"{kind}-{number:05}.jsonl"


def shard_paths(folder: Path, kind: Kind) -> list[Path]:
    """Find the shards of a journal, in order.

    Raises:
        StorageError: one is missing, or the folder cannot be read.
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
            f"{folder / missing[0]} is missing. Restore it, or collect anew into another folder"
        )
    return [folder / name for name in expected]


def refuse_losses(folder: Path, manifest: Manifest, lines: Mapping[str, int]) -> None:
    """See that each shard has the lines that it had when the manifest was written.

    Args:
        folder: of the journal.
        manifest: read before the shards, which may have grown since.
        lines: how many each shard has, by its name.

    Raises:
        StorageError: one has fewer.
    """
    for shard in manifest.shards:
        found = lines.get(shard.name, 0)
        if found < shard.records:
            raise StorageError(
                f"{folder / shard.name} has {found} lines, and had {shard.records}. Restore it, or "
                "give the same `agent-gym rollout` again, which collects what is missing"
            )


def check_same_run(manifest: Manifest, config: Mapping[str, Any], folder: Path) -> None:
    """Let only the configuration go on that a journal was begun with.

    Raises:
        ResumeMismatchError: it is another one; says what differs.
    """
    if manifest.fingerprint == fingerprint(config):
        return
    differences = "; ".join(_differences(manifest.config, config))
    raise ResumeMismatchError(
        f"{folder} was begun with another configuration: {differences}. Give the same one to go "
        "on, or another folder"
    )


def free_folder(folder: Path, config: Mapping[str, Any]) -> Path:
    """Find the first of ``folder``, ``folder-2``, … that holds nothing, or is of this one."""
    others = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    for candidate in itertools.chain([folder], others):
        manifest = read_begun(candidate)
        if manifest is None or manifest.fingerprint == fingerprint(config):
            break
    return candidate


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key in sorted(there.keys() | here.keys()):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{at}{key}.")
        elif old != new:
            yield f"{at}{key} is {_shown(old)} there and {_shown(new)} here"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()
