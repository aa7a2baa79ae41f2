"""Where the embedded corpus lies."""

from __future__ import annotations

from pathlib import Path

from agent_gym_env.errors import DataError

_PACKAGE = Path(__file__).resolve().parents[1]


def sample_path() -> Path:
    """The folder of the embedded corpus, in SGD's format.

    It is ``data/sample`` inside the package where a wheel was installed, and beside the package
    where it runs from a checkout (or an editable installation, which points to one).

    Raises:
        DataError: neither is there.
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
