"""Reads a user's own criteria for the reward ``rubric`` from a file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.rewards.rubric import RESERVED, Criterion
from agent_gym_env.storage.files import as_utf8, read_file
from agent_gym_env.suggestions import explained

MAX_CRITERIA = 16
"""Largest number of criteria: a judge grades all of them in one verdict."""

_MAX_DESCRIPTION_CHARS = 2000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LINE = re.compile(r"([^:(]*?)\s*(?:\(weight ([^)]*)\))?\s*:(.*)")
_LEVELS = (
    "not met at all",
    "hardly met: a serious fault",
    "partly met",
    "met, with a small fault",
    "fully met, or the turn gives no reason to apply it",
)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    description: str
    weight: float = 1.0


def read_criteria(file: str | os.PathLike[str]) -> tuple[Criterion, ...]:
    """Read criteria from a file.

    Args:
        file: JSON, a list of ``{"name": …, "description": …, "weight": …}``; or text, in which each
            line is ``name: description`` or ``name (weight 2): description``. Empty lines and lines
            that begin with ``#`` are left out.

    Raises:
        DataError: the file cannot be read, or a criterion is not in order. The message says what
            was found and what is expected.
    """
    path = os.fspath(file)
    content = as_utf8(read_file(path), path)
    is_json = Path(path).suffix == ".json" or content.lstrip()[:1] in (b"[", b"{")
    entries = list(_of_json(content, path) if is_json else _of_text(content, path))
    places = [place for place, _ in entries]
    _refuse_wrong_names([entry.name for _, entry in entries], places, path)
    return tuple(_criterion(entry, place, path) for place, entry in entries)


def _of_json(content: bytes, path: str) -> Iterator[tuple[str, _Entry]]:
    try:
        entries = msgspec.json.decode(content, type=list[_Entry])
    except msgspec.ValidationError as error:
        problem, inside = explained(error, list[_Entry])
        expected = 'a list of {"name": …, "description": …, "weight": …}'
        pointer = re.sub(r"\.(\w+)|\[(\d+)\]", lambda part: f"/{part[1] or part[2]}", inside)
        raise DataError(
            f"{problem}; the file must be {expected}", file=path, pointer=pointer or None
        ) from error
    except msgspec.MsgspecError as error:
        raise DataError(f"not JSON: {error}", file=path) from error
    for number, entry in enumerate(entries):
        yield f"/{number}", entry


def _of_text(content: bytes, path: str) -> Iterator[tuple[str, _Entry]]:
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error}", file=path) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"line {number}"
        found = _LINE.fullmatch(line.strip())
        if found is None:
            _refuse(
                f"expected 'name: description' or 'name (weight 2): description', found "
                f"{line.strip()[:60]!r}",
                path,
                place,
            )
        name, weight, description = found.groups()
        yield place, _Entry(name, description, _weight(weight, path, place))


def _weight(text: str | None, path: str, place: str) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        _refuse(f"expected a number as weight, found {text!r:.60}", path, place)


def _refuse_wrong_names(names: Sequence[str], places: Sequence[str], path: str) -> None:
    if not 1 <= len(names) <= MAX_CRITERIA:
        raise DataError(f"expected 1 to {MAX_CRITERIA} criteria, found {len(names)}", file=path)
    for number, (name, place) in enumerate(zip(names, places, strict=True)):
        if not _NAME.fullmatch(name):
            expected = "a name of at most 40 small letters, digits and _, such as 'keeps_policy'"
            _refuse(f"expected {expected}, found {name!r:.60}", path, place)
        if name in RESERVED:
            _refuse(f"the name {name!r} has another meaning; choose another one", path, place)
        if name in names[:number]:
            _refuse(f"the name {name!r} is there twice; each criterion needs its own", path, place)


def _criterion(entry: _Entry, place: str, path: str) -> Criterion:
    description = entry.description.strip()
    if not 1 <= len(description) <= _MAX_DESCRIPTION_CHARS:
        found = f"{len(description):,} characters"
        expected = f"a description of 1 to {_MAX_DESCRIPTION_CHARS:,} characters"
        _refuse(f"{entry.name}: expected {expected}, found {found}", path, place)
    if not (math.isfinite(entry.weight) and entry.weight > 0):
        expected = "a weight that is a number above 0"
        _refuse(f"{entry.name}: expected {expected}, found {entry.weight:g}", path, place)
    return Criterion(entry.name, description, _LEVELS, entry.weight)


def _refuse(problem: str, path: str, place: str) -> NoReturn:
    raise DataError(problem, file=path, pointer=place)
