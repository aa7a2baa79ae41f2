"""Optional libraries: the exact pip line when one is missing, and warnings that stay warnings."""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from agent_gym_env.errors import MissingDependency


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
        raise MissingDependency(
            f"{module} is not installed. It comes with: pip install 'agent-gym-env[{extra}]'",
            name=module,
        ) from error


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
    """Count the users of the softened filters."""

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
