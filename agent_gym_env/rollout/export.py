"""Files of training rows: one JSON line each, there when the last row is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from agent_gym_env.corpus.disk import written_whole
from agent_gym_env.rollout.selection import Tally

_encode = msgspec.json.Encoder().encode


def write_rows(path: Path, rows: Iterable[msgspec.Struct], tally: Tally) -> None:
    """Write rows as they come.

    Raises:
        StorageError: the disk does not take it.
    """
    with written_whole(path) as file:
        for row in rows:
            file.write(_encode(row) + b"\n")
            tally.written += 1
