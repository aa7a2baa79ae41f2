"""Folders of the corpora with a name: the embedded sample and the installed SGD."""

from __future__ import annotations

from pathlib import Path

from agent_gym_env.errors import DataError
from agent_gym_env.storage.cache_folder import home

SGD_COMMIT = "e852981ae34990f4358979625854259302feaa78"
"""The commit of SGD's repository that the list of files belongs to."""

RECORD_NAME = "download.json"
"""Name of the file that is written last, so that half a download is never taken for SGD."""

_PACKAGE = Path(__file__).resolve().parents[1]


def sample_path() -> Path:
    """Return the folder of the embedded corpus, in SGD's format.

    It is ``data/sample`` inside the package where a wheel was installed, and beside the package
    where it runs from a checkout (or an editable installation, which points to one).

    Raises:
        DataError: neither folder exists.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        folder = parent / "data" / "sample"
        if folder.is_dir():
            return folder
    raise DataError(
        "The embedded corpus is missing: expected the folder data/sample in the package or beside "
        "it; install agent-gym-env again",
        file=str(_PACKAGE / "data" / "sample"),
    )


def sgd_folder() -> Path:
    """Return the folder of SGD, whether it exists or not."""
    return home() / "sgd" / SGD_COMMIT


def sgd_path() -> Path:
    """Return the folder of the installed SGD.

    Raises:
        DataError: SGD is not installed, or its download was not finished.
    """
    folder = sgd_folder()
    if (folder / RECORD_NAME).is_file():
        return folder
    state = "its download was not finished" if folder.is_dir() else "SGD is not on this machine"
    raise DataError(f"{state}; run: agent-gym data download", file=str(folder))
