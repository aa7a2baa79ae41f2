"""Episodes in a file, one JSON line each, or in a collector's journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from agent_gym_env.corpus.disk import written_whole
from agent_gym_env.rollout.episode import EPISODE_FORMAT, Episode
from agent_gym_env.rollout.record_lines import read_record, record_lines

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Episode).decode


def write_episodes(path: Path, episodes: Iterable[Episode]) -> Iterator[Episode]:
    """Write episodes as they pass; the file appears when the last one has passed.

    Raises:
        StorageError: the disk does not take it.
    """
    with written_whole(path) as file:
        for episode in episodes:
            file.write(_encode(episode) + b"\n")
            yield episode


def read_episodes(path: Path) -> Iterator[Episode]:
    """Read episodes one at a time.

    Args:
        path: a file of them, or the folder that a collector has filled.

    Raises:
        DataError: the path cannot be read, or a line is no episode of this version's format.
        StorageError: a line of a collector's is not as it was written, or some are missing.
    """
    for place, line in record_lines(path, "episodes"):
        yield read_record(_decode, line, place, kind="episode", version=EPISODE_FORMAT)
