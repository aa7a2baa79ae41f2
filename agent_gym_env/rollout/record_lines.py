"""The lines of recorded episodes or branch points, from a file or from a collector's journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.rollout.framing import is_framed, is_whole
from agent_gym_env.rollout.manifest import (
    FAILED,
    MANIFEST,
    Kind,
    read_manifest,
    refuse_losses,
    shard_paths,
)
from agent_gym_env.storage.files import numbered_lines, open_file


class _Versioned(Protocol):
    @property
    def format(self) -> int: ...


_Record = TypeVar("_Record", bound=_Versioned)


def record_lines(path: Path, kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Yield each line with its place.

    A journal may be read while it grows: a last line that is not yet whole is left out.

    Args:
        path: a file of JSON lines, or the folder of a journal.
        kind: of the records.

    Raises:
        DataError: the path cannot be read, or is a folder without such a journal.
        StorageError: a line of a journal is not as it was written, or some are missing.
    """
    try:
        if path.is_dir():
            yield from _journal_lines(path, kind)
        else:
            yield from _file_lines(path)
    except OSError as error:
        raise DataError(f"cannot read {kind}: {error.strerror}", file=str(path)) from error


def failed_lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of a journal's failed jobs with their places, the oldest first.

    Raises:
        DataError: the file cannot be read.
        StorageError: a line is not as it was written.
    """
    path = folder / FAILED
    if not path.exists():
        return
    try:
        yield from shard_lines(path, is_last=True)
    except OSError as error:
        raise DataError(f"cannot read episodes: {error.strerror}", file=str(path)) from error


def read_record(
    decode: Callable[[bytes], _Record], line: bytes, place: str, *, kind: str, version: int
) -> _Record:
    """Read the record of a line.

    Args:
        decode: makes the record of JSON.
        line: as it lies in the file.
        place: of the line.
        kind: what the record is called.
        version: of its shape, that is read here.

    Raises:
        DataError: the line is no such record of this version's format.
    """
    try:
        record = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"this line is no {kind}: {error}", file=place) from error
    if record.format != version:
        raise DataError(
            f"the {kind}'s format is {record.format}; this version reads {version}", file=place
        )
    return record


def shard_lines(path: Path, *, is_last: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of one file of a journal, with their places.

    Args:
        path: of the file.
        is_last: whether it is the file that grows, whose last line may be torn: that one is left
            out.

    Raises:
        DataError: the file cannot be opened, or a line is too long to be a record.
        OSError: the file cannot be read.
        StorageError: a line is not as it was written.
    """
    with open_file(path) as file:
        for number, line in numbered_lines(file, str(path)):
            if is_last and not line.endswith(b"\n"):
                return
            if not (line.endswith(b"\n") and is_whole(line)):
                raise StorageError(_damaged(path, number))
            yield f"{path}:{number}", line


def _journal_lines(folder: Path, kind: Kind) -> Iterator[tuple[str, bytes]]:
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(
            f"cannot read {kind}: the folder has no {MANIFEST}, so it is not a journal"
            f"{_files_to_name(folder)}",
            file=str(folder),
        )
    if manifest.kind != kind:
        raise DataError(f"this journal holds {manifest.kind}, not {kind}", file=str(folder))
    shards = shard_paths(folder, kind)
    lines = Counter[str]()
    for shard in shards:
        for place_and_line in shard_lines(shard, is_last=shard == shards[-1]):
            lines[shard.name] += 1
            yield place_and_line
    refuse_losses(folder, manifest, lines)


def _files_to_name(folder: Path) -> str:
    """Suggest the files of episodes in a folder that `evaluate --out` has written."""
    names = sorted(path.name for path in folder.glob("*.jsonl"))
    return f". Give one of its files: {', '.join(names)}" if names else ""


def _file_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    with open_file(path) as file:
        for number, line in numbered_lines(file, str(path)):
            # A file of a journal may be read alone; its lines keep their promise.
            if is_framed(line) and not is_whole(line):
                raise StorageError(_damaged(path, number))
            if line.strip():
                yield f"{path}:{number}", line


def _damaged(path: Path, number: int) -> str:
    return (
        f"{path}:{number}: this line is not as it was written: its checksum differs. Restore the "
        "file, or collect anew into another folder"
    )
