"""What commands share on the terminal: tables, progress, JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from agent_gym_env.envs.render import printable

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


Advance = Callable[[int, "int | None"], None]
"""Shows on a progress bar that so many are done, of so many; ``None`` keeps the number of all."""


def print_json(value: Any) -> None:
    """Print a value for machines: one JSON document."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print rows for people; wide tables are not cut when the output is no terminal."""
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        # Names may come from a file or a model: neither markup nor escapes in them are obeyed.
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """Show a bar on the standard error output while work lasts; nothing where it is no terminal."""
    with _bars() as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar as `progress` does, which begins anew with each phase of the work."""
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def advance(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                for ended in tasks.values():
                    bars.update(ended, visible=False)
                tasks[phase] = bars.add_task(phase)
            bars.update(tasks[phase], completed=done, total=total)

        yield advance


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # The stream as it is now: whoever keeps a library quiet must not take the bar away.
    console = Console(file=sys.stderr)
    return Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip


class Begin(Protocol[_T_co]):
    """Begins work of several items."""

    def __call__(self, *, on_begin: Callable[[int], None]) -> Iterable[_T_co]:
        """Give the items; ``on_begin`` is called with their number, once known."""


def tracked(label: str, begin: Begin[_T]) -> Iterator[_T]:
    """Pass items on while a bar counts them.

    Args:
        label: stands before the bar.
        begin: gives the items.
    """
    with progress(label) as advance:
        for done, item in enumerate(begin(on_begin=lambda total: advance(0, total)), start=1):
            yield item
            advance(done, None)
