"""Exported rows as datasets for TRL's trainers.

Messages and tools are stored as JSON. With a column for each key, Arrow would put a null into every
message, argument and schema for each key that it lacks and another row has.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeGuard, cast

import msgspec

from agent_gym_env.chat import Message, WithFunction
from agent_gym_env.errors import DataError
from agent_gym_env.export.rows import ConversationRow, LabelledRow, PreferenceRow, PromptRow
from agent_gym_env.extras import require
from agent_gym_env.storage.files import numbered_lines, open_file

require("datasets", extra="train")

from datasets import Dataset, Features, IterableDataset, Json, List, Value  # noqa: E402
from datasets.exceptions import DatasetGenerationError  # noqa: E402

RowKind = Literal["sft", "dpo", "kto", "grpo"]
Row = dict[str, Any]
Source = Path | str | Sequence[Path | str] | Iterable[Mapping[str, Any]]
"""One or more files of JSON lines, or rows in memory."""


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

_ROWS: dict[RowKind, tuple[type[msgspec.Struct], tuple[str, ...]]] = {
    "sft": (ConversationRow, ("messages", "reward")),
    "dpo": (PreferenceRow, ("prompt", "chosen", "rejected", "margin")),
    "kto": (LabelledRow, ("prompt", "completion", "label", "reward")),
    "grpo": (PromptRow, ("prompt", "turn", "state")),
}
"""Exported rows of each kind, and those of their fields that become columns, besides `_SHARED`."""

_SHARED = ("tools", "dialogue_id", "split")

_COLUMNS: dict[Any, Any] = {
    str: Value("string"),
    int: Value("int64"),
    bool: Value("bool"),
    float | None: Value("float64"),
    Sequence[Message]: List(Json()),
}


def features(kind: RowKind) -> Features:
    """Return the columns of rows of a kind; other keys of a row are dropped."""
    return Features({name: _COLUMNS[each] for name, each in _types(kind).items()})


def chat_dataset(rows: Source, kind: RowKind) -> Dataset:
    """Load rows.

    Files are converted once to an Arrow file in the cache of ``datasets``, named by their content,
    which is mapped into memory. Rows in memory stay there.

    Args:
        rows: files that ``agent-gym export`` wrote, or rows.
        kind: kind of the rows.

    Raises:
        DataError: a file cannot be read, a row is not of this kind, or no row was found.
    """
    if _are_paths(rows):
        return _mapped(_names(rows), kind)
    in_memory = cast("Iterable[Mapping[str, Any]]", rows)
    checked = [_columns(row, kind, f"row {n}") for n, row in enumerate(in_memory)]
    if not checked:
        raise DataError(f"found no {kind} rows")
    return Dataset.from_list(checked, features=features(kind))


class Origin(msgspec.Struct, frozen=True):
    """Dialogues of a run's rows: they show whether a held-out dialogue was trained on.

    A dialogue is identified by its split and its id.

    Attributes:
        trained: number of dialogues of the rows to train on, by split.
        held_out: number of dialogues of the held-out rows, by split.
        shared: number of dialogues of which there are rows of both kinds.
    """

    trained: dict[str, int]
    held_out: dict[str, int]
    shared: int


def origin(rows: Dataset, held_out: Sequence[str], kind: RowKind) -> Origin:
    """Count the dialogues of a run's rows.

    Args:
        rows: rows to train on, with their columns ``split`` and ``dialogue_id``.
        held_out: files of held-out rows.
        kind: kind of the rows.
    """
    trained = _dialogues(rows)
    apart = _dialogues(chat_dataset(held_out, kind)) if held_out else set()
    return Origin(_by_split(trained), _by_split(apart), len(trained & apart))


def _dialogues(rows: Dataset) -> set[tuple[str, str]]:
    return set(zip(rows["split"], rows["dialogue_id"], strict=True))


def _by_split(dialogues: Iterable[tuple[str, str]]) -> dict[str, int]:
    return dict(sorted(Counter(split for split, _ in dialogues).items()))


def streamed_dataset(rows: Path | str | Sequence[Path | str], kind: RowKind) -> IterableDataset:
    """Read rows during the training, without memory or a cache for them.

    The trainer then needs ``max_steps``, because the number of rows is not known.

    Args:
        rows: files that ``agent-gym export`` wrote.
        kind: kind of the rows.
    """
    generated = {"paths": _names(rows), "kind": kind}
    return IterableDataset.from_generator(_read, features=features(kind), gen_kwargs=generated)


def read_rows(paths: Sequence[Path | str], kind: RowKind) -> Iterator[Row]:
    """Read the rows of files, one at a time, each with the keys of its kind.

    Raises:
        DataError: a file cannot be read, or a line is not a row of this kind.
    """
    for path in paths:
        with _opened(path) as file:
            for number, line in numbered_lines(file, str(path)):
                if line.strip():
                    yield _row(line, kind, f"{path}:{number}")


def digest(paths: Sequence[Path | str]) -> str:
    """Return the SHA-256 of the content of files.

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
        raise DataError(f"found no {kind} rows", file=", ".join(paths))
    # `datasets` names its cache by these arguments: the digest tells a changed file.
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
        raise DataError(f"not a row: {error}", file=place) from error
    return _columns(row, kind, place)


def _columns(row: Mapping[str, Any], kind: RowKind, place: str) -> Row:
    """Check a row and return its columns, with messages and tools unchanged."""
    try:
        msgspec.convert(dict(row), _checked_row(kind))
    except msgspec.ValidationError as error:
        raise DataError(f"not a row for {kind}: {error}", file=place) from error
    columns = {name: row.get(name) for name in _types(kind)}
    for name, value in columns.items():
        if isinstance(value, float) and not math.isfinite(value):
            problem = f"expected a finite number, or null for an unknown value, not {value}"
            raise DataError(problem, file=place, pointer=f"/{name}")
    return columns


@cache
def _types(kind: RowKind) -> dict[str, Any]:
    """Return the types of the columns by name, as the export declares them."""
    row, names = _ROWS[kind]
    types = {field.name: field.type for field in msgspec.structs.fields(row)}
    return {name: types[name] for name in (*_SHARED, *names)}


@cache
def _checked_row(kind: RowKind) -> type[msgspec.Struct]:
    """Make the struct that checks the columns of a row, its messages and its tools."""
    checked = {name: _Messages if t == Sequence[Message] else t for name, t in _types(kind).items()}
    optional = {name: (name, t, None) for name, t in checked.items() if t == float | None}
    fields = [optional.get(name, (name, t)) for name, t in {**checked, "tools": _Tools}.items()]
    return msgspec.defstruct(kind, fields, kw_only=True)
