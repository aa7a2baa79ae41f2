"""Output that commands share: tables, progress bars and JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from agent_gym_env.cli.events import Events, wanted_events
from agent_gym_env.envs.render import printable

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


_MOST_PARTS = 4
"""Largest number of tables into which a table that is too wide is divided."""

Advance = Callable[[int, "int | None"], None]
"""Function that shows progress: items done, and items in total (``None`` if that is unchanged)."""


def print_json(value: Any, *, indent: int = 2) -> None:
    """Print a value as one JSON document, for programs.

    Args:
        value: value that msgspec can encode.
        indent: spaces per level; -1 for a document on one line.
    """
    text = msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()
    if "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower():
        text = re.sub("[^\\x00-\\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    print(text, flush=indent < 0)


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", *, keys: int = 1
) -> None:
    """Print rows as a table. No cell is cut, however narrow the terminal is.

    Columns for which a terminal has no room follow in another table, beside the first ones again.
    Where that would make too many tables, each row becomes a list of its cells.

    Args:
        header: names of the columns.
        rows: cells of each row.
        title: line above the table.
        keys: number of leading columns that identify a row.
    """
    # Names may come from a file or a model: markup and escapes in them must have no effect.
    lines = [[printable(cell) for cell in row] for row in (header, *rows)]
    console = Console(highlight=False)
    if title:
        console.print(Text(printable(title)), soft_wrap=True, style="italic")
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    parts = _side_by_side(widths, keys, _room(console))
    if len(parts) > _MOST_PARTS:
        console.print(Text(_listed(lines)), soft_wrap=True)
        return
    for part in parts:
        console.width = _width([widths[column] for column in part])
        console.print(_table([[line[column] for column in part] for line in lines]))


def _room(console: Console) -> int | None:
    """Return the width of the terminal; ``None`` for a file or a pipe, where any width fits."""
    is_told = os.environ.get("COLUMNS", "").isdecimal()
    return console.width if is_told or console.file.isatty() else None


def _side_by_side(widths: Sequence[int], keys: int, room: int | None) -> list[list[int]]:
    """Distribute columns over tables that fit, or over too many if two columns do not fit.

    Args:
        widths: widths of the columns.
        keys: number of leading columns that each table repeats.
        room: width of the terminal.
    """
    first = [*range(keys)]
    parts = [first]
    for column in range(keys, len(widths)):
        if room is not None and _width([widths[each] for each in (*parts[-1], column)]) > room:
            if _width([widths[each] for each in (*first, column)]) > room:
                return [first] * (_MOST_PARTS + 1)
            parts.append(first)
        parts[-1] = [*parts[-1], column]
    return parts


def _width(widths: Sequence[int]) -> int:
    """Return the width of a table: its cells, a space on both sides of each, and its lines."""
    return sum(widths) + 3 * len(widths) + 1


def _table(lines: Sequence[Sequence[str]]) -> Table:
    table = Table(header_style="bold")
    for number, name in enumerate(lines[0]):
        table.add_column(Text(name), justify="left" if number == 0 else "right", no_wrap=True)
    for line in lines[1:]:
        table.add_row(*map(Text, line))
    return table


def _listed(lines: Sequence[Sequence[str]]) -> str:
    """Write each row as a list of its cells, with a blank line between two rows."""
    header = lines[0]
    rows = (zip(header, line, strict=True) for line in lines[1:])
    return "\n\n".join("\n".join(f"{name}: {cell}" for name, cell in row) for row in rows)


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """Show a progress bar on the standard error output, if that is a terminal; or emit events."""
    if (events := wanted_events()) is not None:
        yield _event_progress(events, label)
        return
    with _bars() as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _event_progress(events: Events, label: str) -> Advance:
    known: int | None = None

    def advance(done: int, total: int | None) -> None:
        nonlocal known
        known = known if total is None else total
        events.progress(label, done, known)

    return advance


class Phases(Protocol):
    """Display of the progress of work that has several phases."""

    def advance(self, phase: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of a phase are done."""

    def measured(self, figures: Mapping[str, float]) -> None:
        """Show measurements such as the loss."""


@contextmanager
def phases() -> Iterator[Phases]:
    """Show phases of work on the standard error output, with the time left.

    On a terminal there is one bar for each phase. Elsewhere a line is written for every
    twentieth of a phase. Where events are wanted, they are emitted instead.
    """
    if (events := wanted_events()) is not None:
        yield _EventPhases(events)
        return
    if not _stderr().is_terminal:
        yield _Lines()
        return
    with _bars(TextColumn("{task.fields[figures]}")) as bars:
        yield _Bars(bars)


class _EventPhases:
    """Display of `phases` for a program."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def advance(self, phase: str, done: int, total: int) -> None:
        self._events.progress(phase, done, total)

    def measured(self, figures: Mapping[str, float]) -> None:
        self._events.emit("measured", {"figures": dict(figures)})


class _Bars:
    """Display of `phases` on a terminal: a progress bar for each phase."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._figures: dict[str, float] = {}

    def advance(self, phase: str, done: int, total: int) -> None:
        if phase not in self._tasks:
            for ended in self._tasks.values():
                self._bars.update(ended, visible=False)
            self._tasks[phase] = self._bars.add_task(phase, figures="")
        task = self._tasks[phase]
        self._bars.update(task, completed=done, total=total, figures=_figures_text(self._figures))

    def measured(self, figures: Mapping[str, float]) -> None:
        self._figures.update(figures)


class _Lines:
    """Display of `phases` in a file or pipe: at most `_LINES` lines for each phase."""

    def __init__(self) -> None:
        self._phase: str | None = None
        self._figures: dict[str, float] = {}

    def advance(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase:
            self._phase, self._begin, self._first = phase, time.monotonic(), done
            self._shown = done * _LINES // max(total, 1)
        part = done * _LINES // max(total, 1)
        if part > self._shown or done >= total:
            self._shown = part
            time_s = time.monotonic() - self._begin
            left_s = time_s / max(done - self._first, 1) * (total - done)
            end = f"{_clock(left_s)} left" if done < total else f"took {_clock(time_s)}"
            parts = [f"{phase}: {done:,} of {total:,}", _figures_text(self._figures), end]
            print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def measured(self, figures: Mapping[str, float]) -> None:
        self._figures.update(figures)


_LINES = 20
_FIGURES = ("loss", "reward", "eval_loss")
"""The measurements that are shown."""


def _figures_text(figures: Mapping[str, float]) -> str:
    names = [name for name in _FIGURES if name in figures]
    return ", ".join(f"{name.replace('_', ' ')} {float(figures[name]):.3f}" for name in names)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _bars(*more: ProgressColumn) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = _stderr()
    return Progress(
        *columns, TimeRemainingColumn(), *more, console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip


def _stderr() -> Console:
    # The stream as it is now, since it may be replaced to silence a library.
    return Console(file=sys.stderr)


class Begin(Protocol[_T_co]):
    """Function that begins work on several items."""

    def __call__(self, *, on_begin: Callable[[int], None]) -> Iterable[_T_co]:
        """Return the items; call ``on_begin`` with their number, once it is known."""


def tracked(label: str, begin: Begin[_T]) -> Iterator[_T]:
    """Pass items on while a bar counts them.

    Args:
        label: text before the bar.
        begin: function that returns the items.
    """
    with progress(label) as advance:
        for done, item in enumerate(begin(on_begin=lambda total: advance(0, total)), start=1):
            yield item
            advance(done, None)
