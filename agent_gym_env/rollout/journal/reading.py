"""Reading episodes and branch points, from a file of JSON lines or from a journal."""

from __future__ import annotations

import codecs
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.rollout.branching import BRANCH_FORMAT, BranchPoint
from agent_gym_env.rollout.episode import EPISODE_FORMAT, Episode
from agent_gym_env.rollout.journal.format import (
    FAILED,
    MANIFEST,
    WORKER_DIED,
    Kind,
    entry_of,
    is_framed,
    is_whole,
    read_manifest,
    refuse_losses,
    shard_paths,
)
from agent_gym_env.storage.files import MAX_LINE_BYTES, numbered_lines, open_file, written_whole

_encode = msgspec.json.Encoder().encode
_decode_episode = msgspec.json.Decoder(Episode).decode
_decode_branch_point = msgspec.json.Decoder(BranchPoint).decode


class _Versioned(Protocol):
    @property
    def format(self) -> int: ...


_Record = TypeVar("_Record", bound=_Versioned)


def write_episodes(path: str | Path, episodes: Iterable[Episode]) -> Iterator[Episode]:
    """Write episodes, one JSON line each, and yield them.

    The file appears when the last episode was yielded.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with written_whole(Path(path)) as file:
        for episode in episodes:
            file.write(_encode(episode) + b"\n")
            yield episode


def read_episodes(path: str | Path) -> Iterator[Episode]:
    """Read episodes one at a time.

    Args:
        path: path of a file of episodes, or of the folder of a journal.

    Raises:
        DataError: the path cannot be read, or a line is not an episode of this version's format.
        StorageError: lines of a journal are damaged or missing.
    """
    for place, line in record_lines(Path(path), "episodes"):
        yield read_episode(place, line)


def read_played(folder: Path) -> list[Episode]:
    """Read all episodes of a journal in the order of its jobs, failed ones included.

    Raises:
        DataError: the folder is not a journal of episodes, or a line is not an episode.
        StorageError: lines are damaged or missing.
    """
    played: dict[int, Episode] = {}
    for place, line in _failed_lines(folder):
        entry = entry_of(line)
        if entry.error_class != WORKER_DIED:  # which leaves no episode
            played[entry.job] = read_episode(place, line)
    for place, line in record_lines(folder, "episodes"):
        # A job that failed may have succeeded since.
        played[entry_of(line).job] = read_episode(place, line)
    return [played[job] for job in sorted(played)]


class LastFailure(msgspec.Struct, frozen=True):
    """Failure that a journal noted last.

    Attributes:
        error: exception as ``Class: message``.
        dialogue_id: id of the dialogue; ``None`` if a worker died.
    """

    error: str
    dialogue_id: str | None = None


def last_failure(folder: Path) -> LastFailure | None:
    """Return the failure that a journal noted last; ``None`` if no job has failed.

    Raises:
        DataError: the file of failures cannot be read.
        StorageError: a line is damaged.
    """
    last = deque(_failed_lines(folder), maxlen=1)
    return msgspec.json.decode(last[0][1], type=LastFailure) if last else None


def read_episode(place: str, line: bytes) -> Episode:
    """Decode one line.

    Args:
        place: file and number of the line, for messages.
        line: line of a journal or of a file of episodes.

    Raises:
        DataError: it is not an episode of this version's format.
    """
    return _read_record(_decode_episode, line, place, name="episode", version=EPISODE_FORMAT)


def read_branches(path: str | Path) -> Iterator[BranchPoint]:
    """Read branch points one at a time.

    Args:
        path: path of a file of branch points, or of the folder of a journal.

    Raises:
        DataError: the path cannot be read, or a line is not a branch point of this version's
            format.
        StorageError: lines of a journal are damaged or missing.
    """
    for place, line in record_lines(Path(path), "branches"):
        yield _read_record(
            _decode_branch_point, line, place, name="branch point", version=BRANCH_FORMAT
        )


def _read_record(
    decode: Callable[[bytes], _Record], line: bytes, place: str, *, name: str, version: int
) -> _Record:
    try:
        record = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"invalid {name}: {error}", file=place) from error
    if record.format != version:
        raise DataError(
            f"the {name}'s format is {record.format}; this version reads {version}", file=place
        )
    return record


def record_lines(path: Path, kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Yield each line with its place.

    A journal may be read while it grows: an unfinished last line is left out.

    Args:
        path: path of a file of JSON lines, or of the folder of a journal.
        kind: kind of the records.

    Raises:
        DataError: the path cannot be read, or is a folder without such a journal.
        StorageError: lines of a journal are damaged or missing.
    """
    try:
        if path.is_dir():
            yield from _journal_lines(path, kind)
        else:
            yield from _file_lines(path)
    except OSError as error:
        raise DataError(f"cannot read {kind}: {error.strerror}", file=str(path)) from error


def shard_lines(path: Path, *, is_last: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of one file of a journal with their places.

    Args:
        path: path of the file.
        is_last: true for the file that grows; its last line is left out if it is unfinished.

    Raises:
        DataError: the file cannot be opened, or a line is too long for a record.
        OSError: the file cannot be read.
        StorageError: a line is damaged.
    """
    with open_file(path) as file:
        for number, line in numbered_lines(file, str(path)):
            if is_last and not line.endswith(b"\n"):
                return
            if not (line.endswith(b"\n") and is_whole(line)):
                raise StorageError(_damaged(path, number))
            yield f"{path}:{number}", line


def _failed_lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of a journal's failed jobs with their places, oldest first."""
    path = folder / FAILED
    if not path.exists():
        return
    try:
        yield from shard_lines(path, is_last=True)
    except OSError as error:
        raise DataError(f"cannot read episodes: {error.strerror}", file=str(path)) from error


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
    return f". Name one of its files: {', '.join(names)}" if names else ""


def _file_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    with open_file(path) as file:
        for number, line in numbered_lines(file, str(path)):
            # A single file of a journal may be read, too; its lines must match their checksums.
            if is_framed(line) and not is_whole(line):
                raise StorageError(_damaged(path, number))
            if line.strip():
                yield f"{path}:{number}", line


def _damaged(path: Path, number: int) -> str:
    return (
        f"{path}:{number}: this line is damaged: its checksum differs. Restore the file, or "
        "collect again into another folder"
    )


class _OfEitherKind(msgspec.Struct):
    """The field that distinguishes a branch point from an episode."""

    branches: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def record_kind(paths: Sequence[Path]) -> Kind:
    """Return the kind of the records that files or journals hold.

    Raises:
        DataError: a path cannot be read, or the kinds differ.
    """
    kinds = {path: _kind(path) for path in paths}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{path} {kind}" for path, kind in kinds.items())
        raise DataError(f"expected episodes only or branch points only, found: {found}")
    return kinds[paths[0]]


def _kind(path: Path) -> Kind:
    """Read at most the first record; a file without records of either kind counts as episodes."""
    if path.is_dir():
        manifest = read_manifest(path)
        return "episodes" if manifest is None else manifest.kind
    try:
        with open_file(path) as file:
            line = file.readline(MAX_LINE_BYTES)
        record = msgspec.json.decode(
            line.removeprefix(codecs.BOM_UTF8) or b"{}", type=_OfEitherKind
        )
    except OSError as error:
        raise DataError(f"cannot read episodes: {error.strerror}", file=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "episodes"
    return "episodes" if record.branches is msgspec.UNSET else "branches"
