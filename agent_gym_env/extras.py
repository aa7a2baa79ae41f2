"""Optional libraries: the pip line if one is missing, and warnings that do not become errors."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import shlex
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from agent_gym_env.errors import MissingDependency

DISTRIBUTION = "agent-gym-env"

_ROOT = Path(__file__).resolve().parents[1]
"""The checkout's folder, or the folder that an installed package lies in."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: dotted name, for example ``"stable_baselines3"``.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingDependency: the library is not installed.
    """
    try:
        with tolerate_library_warnings():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise _missing(module, extra) from error


def _missing(module: str, extra: str) -> MissingDependency:
    problem = f"{module} is not installed. It comes with the extra {extra!r}: {pip_line(extra)}"
    return MissingDependency(problem, name=module)


def require_installed(*modules: str, extra: str) -> None:
    """Raise what `require` raises where libraries are missing, without importing them.

    Args:
        *modules: dotted names of what is slow to import.
        extra: as in `require`.

    Raises:
        MissingDependency: one of them is not installed.
    """
    for module in modules:
        if module not in sys.modules and not _is_found(module):
            raise _missing(module, extra)


def _is_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def require_or_exit(module: str, *, extra: str) -> None:
    """Import an optional library in a script, or end the script with the pip line.

    Args:
        module: as in `require`.
        extra: as in `require`.

    Raises:
        SystemExit: the library is not installed.
    """
    try:
        require(module, extra=extra)
    except MissingDependency as error:
        raise SystemExit(str(error)) from error


def pip_line(extra: str) -> str:
    """Return the shell command that installs an extra beside this package.

    No package index knows this distribution. So the command names the checkout that the package is
    imported from or, for an installed package, the requirements in the distribution's metadata.

    Args:
        extra: name of the extra, for example ``"sb3"``.
    """
    pip = [sys.executable or "python", "-m", "pip", "install"]
    if _is_checkout(_ROOT):
        return shlex.join([*pip, "--editable", f"{_ROOT}[{extra}]"])
    try:
        return shlex.join([*pip, *requirements(extra)])
    except metadata.PackageNotFoundError:
        return f"pip install '.[{extra}]', in the folder of a checkout of {DISTRIBUTION}"


def requirements(extra: str) -> list[str]:
    """Return the requirements of an extra, such as ``["aiohttp<4,>=3.10"]``, from the metadata.

    Args:
        extra: name of the extra. Extras of this distribution in it are replaced by what they hold.

    Raises:
        PackageNotFoundError: the package lies there without metadata.
    """
    found: list[str] = []
    for line in metadata.requires(DISTRIBUTION) or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        condition = marker.replace("'", '"').removesuffix(f'extra == "{extra}"')
        if condition == marker.replace("'", '"'):
            continue
        condition = condition.strip().removesuffix("and").strip()
        name, _, inner = requirement.partition("[")
        if name == DISTRIBUTION:
            found += [each for part in inner.rstrip("]").split(",") for each in requirements(part)]
        else:
            found.append(f"{requirement}; {condition}" if condition else requirement)
    return list(dict.fromkeys(found))


def _is_checkout(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return project.is_file() and f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8")


@contextlib.contextmanager
def tolerate_library_warnings() -> Iterator[None]:
    """Show the warnings of libraries instead of raising them, whatever ``PYTHONWARNINGS`` says.

    A warning that becomes an exception inside a library ends whatever it was doing, such as
    reading an answer that is already paid for. Within this context a filter with the action
    ``error`` acts as ``default``, unless it names the modules of this package.

    Filters belong to the process. The first thread that enters changes them, the last one that
    leaves restores them.
    """
    _TOLERANCE.enter()
    try:
        yield
    finally:
        _TOLERANCE.leave()


class _Tolerance:
    """Counter of the users of softened filters.

    Unlike `agent_gym_env.process_wide.SharedChange` it looks at the filters again for each user:
    the first may find nothing to soften, and the second a filter that was added since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._changed: warnings.catch_warnings[None] | None = None

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._changed is None and any(map(_raises, warnings.filters)):
                self._changed = warnings.catch_warnings()
                self._changed.__enter__()
                _soften()

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._changed is not None:
                self._changed.__exit__(None, None, None)
                self._changed = None


_TOLERANCE = _Tolerance()
_PACKAGE = __name__.partition(".")[0]


def _soften() -> None:
    filters: list[tuple[Any, ...]] = list(warnings.filters)
    warnings.resetwarnings()
    for entry in filters:
        action, message, category, module, line = entry
        warnings.filterwarnings(
            "default" if _raises(entry) else action,
            message=_pattern(message),
            category=category,
            module=_pattern(module),
            lineno=line,
            append=True,
        )


def _raises(entry: tuple[Any, ...]) -> bool:
    action, _, _, module, _ = entry
    return action == "error" and not (module is not None and re.match(module, _PACKAGE))


def _pattern(expression: Any) -> str:
    return getattr(expression, "pattern", expression or "")
