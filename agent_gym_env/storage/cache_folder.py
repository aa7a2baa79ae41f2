"""The folder in which this package keeps data on the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.storage.files import locked

HOME_VARIABLE = "AGENT_GYM_HOME"

_T = TypeVar("_T")


def home() -> Path:
    """Return the folder for downloads and compiled corpora.

    It is ``$AGENT_GYM_HOME``, or ``agent-gym`` in the user's cache.

    Raises:
        StorageError: the variable is not set, and the user has no home directory.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    try:
        folder = Path(chosen).expanduser() if chosen else _user_cache() / "agent-gym"
    except RuntimeError as error:
        raise StorageError(
            f"this user has no home directory; set {HOME_VARIABLE} to a folder that can be written"
        ) from error
    return folder.absolute()


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    return Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"


def load_or_make(
    path: Path, load: Callable[[Path], _T], make: Callable[[], _T], *, wait_s: float
) -> _T:
    """Load a file of the cache; make it on first use, while other processes wait.

    Args:
        path: path of the file.
        load: reads the file; it raises `DataError` for one that is missing or damaged.
        make: makes what `load` would return, and writes the file.
        wait_s: longest wait for another process that makes the same file, in seconds.

    Raises:
        LockError: another process takes too long.
    """
    with suppress(DataError):
        return load(path)
    with locked(path.with_suffix(".lock"), wait_s=wait_s):
        with suppress(DataError):
            return load(path)
        return make()
