"""Exported rows as the datasets that TRL's trainers take.

A message or a tool is held as JSON and not as a column for each key: with columns, Arrow puts a
null into every message, argument and schema for each key that another row has.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeGuard, cast

import msgspec

from agent_gym_env.chat import WithFunction
from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.storage.files import numbered_lines, open_file

require("datasets", extra="train")

from datasets import Dataset, Features, IterableDataset, Json, List, Value  # noqa: E402
from datasets.exceptions import DatasetGenerationError  # noqa: E402

RowKind = Literal["sft", "dpo", "kto", "grpo"]
Row = dict[str, Any]
Source = Path | str | Sequence[Path | str] | Iterable[Mapping[str, Any]]
"""A file of JSON lines, several of them, or rows at hand."""


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] = {}


class _Message(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[WithFunction[_Function]] = []


class _ToolFunction(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


_Tools = list[WithFunction[_ToolFunction]]
_Messages = Annotated[list[_Message], msgspec.Meta(min_length=1)]


class _Taken(msgspec.Struct):
    """What every row says of where it was taken."""

    tools: _Tools
    dialogue_id: str
    split: str


class _SFTRow(_Taken):
    messages: _Messages
    reward: float | None = None


class _DPORow(_Taken):
    prompt: _Messages
    chosen: _Messages
    rejected: _Messages
    margin: float | None = None


class _KTORow(_Taken):
    prompt: _Messages
    completion: _Messages
    label: bool
    reward: float | None = None


class _GRPORow(_Taken):
    prompt: _Messages
    turn: int
    state: str


_TYPES: dict[RowKind, type[_Taken]] = {
    "sft": _SFTRow,
    "dpo": _DPORow,
    "kto": _KTORow,
    "grpo": _GRPORow,
}
_COLUMNS: dict[Any, Any] = {
    str: Value("string"),
    int: Value("int64"),
    bool: Value("bool"),
    float | None: Value("float64"),
    _Tools: List(Json()),
    _Messages: List(Json()),
}


def features(kind: RowKind) -> Features:
    """Give the columns of rows of a kind; other keys of a row are left out."""
    fields = msgspec.structs.fields(_TYPES[kind])
    return Features({field.name: _COLUMNS[field.type] for field in fields})


def chat_dataset(rows: Source, kind: RowKind) -> Dataset:
    """Load rows.

    Of files an Arrow file is made once in the cache of ``datasets``, by their content, and mapped
    into memory; rows at hand are kept in memory.

    Args:
        rows: files that ``agent-gym export`` wrote, or rows.
        kind: what they are rows of.

    Raises:
        DataError: a file cannot be read, a row is not of this kind, or there are none.
    """
    if _are_paths(rows):
        return _mapped(_names(rows), kind)
    at_hand = cast("Iterable[Mapping[str, Any]]", rows)
    checked = [_columns(row, kind, f"row {n}") for n, row in enumerate(at_hand)]
    if not checked:
        raise DataError(f"there are no {kind} rows")
    return Dataset.from_list(checked, features=features(kind))


def streamed_dataset(rows: Path | str | Sequence[Path | str], kind: RowKind) -> IterableDataset:
    """Read rows while they are trained on, which takes neither memory nor a cache.

    A trainer then needs a number of steps, since it cannot tell how many rows there are.

    Args:
        rows: files that ``agent-gym export`` wrote.
        kind: what they are rows of.
    """
    generated = {"paths": _names(rows), "kind": kind}
    return IterableDataset.from_generator(_read, features=features(kind), gen_kwargs=generated)


def read_rows(paths: Sequence[Path | str], kind: RowKind) -> Iterator[Row]:
    """Read the rows of files, one at a time, each with the keys of its kind.

    Raises:
        DataError: a file cannot be read, or a line is no row of this kind.
    """
    for path in paths:
        with _opened(path) as file:
            for number, line in numbered_lines(file, str(path)):
                if line.strip():
                    yield _row(line, kind, f"{path}:{number}")


def digest(paths: Sequence[Path | str]) -> str:
    """Give the SHA-256 of the content of files.

    Raises:
        DataError: a file cannot be read.
    """
    content = hashlib.sha256()
    for path in paths:
        with _opened(path) as file:
            while block := file.read(1 << 20):
                content.update(block)
    return content.hexdigest()


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[BinaryIO]:
    try:
        with open_file(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"cannot read rows: {error.strerror}", file=str(path)) from error


def _mapped(paths: Sequence[str], kind: RowKind) -> Dataset:
    if next(read_rows(paths, kind), None) is None:
        raise DataError(f"there are no {kind} rows", file=", ".join(paths))
    # The digest is there for the cache's sake: a file that has changed is another one.
    generated = {"paths": paths, "kind": kind, "digest": digest(paths)}
    try:
        return Dataset.from_generator(_read, features=features(kind), gen_kwargs=generated)
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


def _read(paths: Sequence[str], kind: RowKind, digest: str = "") -> Iterator[Row]:
    return read_rows(paths, kind)


def _are_paths(rows: Source) -> TypeGuard[Path | str | Sequence[Path | str]]:
    if isinstance(rows, (str, Path)):
        return True
    return isinstance(rows, Sequence) and bool(rows) and isinstance(rows[0], (str, Path))


def _names(paths: Path | str | Sequence[Path | str]) -> list[str]:
    return [str(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]


def _row(line: bytes, kind: RowKind, place: str) -> Row:
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"this line is no row: {error}", file=place) from error
    return _columns(row, kind, place)


def _columns(row: Mapping[str, Any], kind: RowKind, place: str) -> Row:
    """Check a row and give the keys of its kind, messages and tools as they were."""
    try:
        read = msgspec.convert(dict(row), _TYPES[kind])
    except msgspec.ValidationError as error:
        raise DataError(f"this is no {kind} row: {error}", file=place) from error
    columns = {name: row.get(name) for name in read.__struct_fields__}
    for name, value in columns.items():
        if isinstance(value, float) and not math.isfinite(value):
            problem = f"{value} is no number; a value that could not be told is null"
            raise DataError(problem, file=place, pointer=f"/{name}")
    return columns
