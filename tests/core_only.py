"""Runs commands, examples and imports in an interpreter that sees the core's libraries alone.

Read JSON from the standard input, a list of ``{"command": [...]}``, ``{"example": path}`` and
``{"module": name}``; write a list of ``{"code": …, "out": …, "err": …}`` to the standard output.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

DISTRIBUTION = "agent-gym-env"


class CoreFinder:
    """Finds what `PathFinder` finds, but for some packages, as if they were not installed."""

    def __init__(self, hidden: set[str]) -> None:
        self._hidden = hidden

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Find a module; see `importlib.abc.MetaPathFinder`."""
        hidden = name.partition(".")[0] in self._hidden
        return None if hidden else PathFinder.find_spec(name, path, target)


def hide_all_but_the_core() -> None:
    """Hide the packages of every distribution that the core does not need."""
    core = set(_needed(DISTRIBUTION))
    kept: set[str] = set()
    others: set[str] = set()
    for distribution in metadata.distributions():
        (kept if _normal(distribution.name) in core else others).update(_packages(distribution))
    hidden = others - kept
    sys.meta_path[sys.meta_path.index(PathFinder)] = CoreFinder(hidden)
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]  # a .pth file has imported it


def _packages(distribution: metadata.Distribution) -> Iterator[str]:
    """Yield the packages and modules of a distribution, by its files.

    `importlib.metadata.packages_distributions` of Python 3.10 knows only those that a file names.
    """
    yield from (distribution.read_text("top_level.txt") or "").split()
    for file in distribution.files or ():
        if file.suffix in (".py", ".so", ".pyd"):
            yield file.parts[0].partition(".")[0]


def _needed(distribution: str) -> Iterator[str]:
    yield _normal(distribution)
    for line in metadata.requires(distribution) or ():
        if "extra ==" not in line:
            name = re.split(r"[^\w.-]", line)[0]
            with contextlib.suppress(metadata.PackageNotFoundError):  # not for this Python
                yield from _needed(name)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Run a case; return its exit code and its outputs, with the traceback where it has one."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = _run(case)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            print(end.code or "", file=sys.stderr)
        except Exception:  # noqa: BLE001  (the exception is the outcome)
            code = 1
            traceback.print_exc()
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def _run(case: dict[str, Any]) -> int:
    if "module" in case:
        importlib.import_module(case["module"])
        return 0
    if "example" in case:
        runpy.run_path(case["example"], run_name="__main__")
        return 0
    from agent_gym_env.cli.main import main

    return main(case["command"])


if __name__ == "__main__":
    hide_all_but_the_core()
    json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
