"""Where this package keeps data on the machine, and where SGD lies in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agent_gym_env.errors import DataError, StorageError

HOME_VARIABLE = "AGENT_GYM_HOME"
SGD_COMMIT = "e852981ae34990f4358979625854259302feaa78"
"""The commit of SGD's repository to which the list of blobs belongs."""

RECORD_NAME = "download.json"
"""Written into SGD's folder as the last file, so that half a download is never taken for SGD."""


def home() -> Path:
    """The folder for downloads and compiled corpora: ``$AGENT_GYM_HOME``, or the user's cache.

    Raises:
        StorageError: there is neither that variable nor a home directory.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    try:
        folder = Path(chosen).expanduser() if chosen else _user_cache() / "agent-gym"
    except RuntimeError as error:
        raise StorageError(
            f"this user has no home directory; set {HOME_VARIABLE} to a folder that can be written"
        ) from error
    return folder.absolute()


def sgd_folder() -> Path:
    """Where SGD belongs, whether it is there or not."""
    return home() / "sgd" / SGD_COMMIT


def sgd_path() -> Path:
    """The folder of the installed SGD.

    Raises:
        DataError: it is not installed, or its download was not finished.
    """
    folder = sgd_folder()
    if (folder / RECORD_NAME).is_file():
        return folder
    state = "its download was not finished" if folder.is_dir() else "SGD is not on this machine"
    raise DataError(f"{state}; run: agent-gym data download", file=str(folder))


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    return Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
