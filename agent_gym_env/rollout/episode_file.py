"""Episodes in a file, one JSON line each, or in a collector's journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from agent_gym_env.rollout.episode import EPISODE_FORMAT, Episode
from agent_gym_env.rollout.framing import entry_of
from agent_gym_env.rollout.outcome import WORKER_DIED
from agent_gym_env.rollout.record_lines import failed_lines, read_record, record_lines
from agent_gym_env.storage.files import written_whole

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
        yield _episode(place, line)


def read_played(folder: Path) -> list[Episode]:
    """Read all episodes of a journal in the order of its jobs, those that failed included.

    Raises:
        DataError: the folder is not a journal of episodes, or a line is not an episode.
        StorageError: a line is not as it was written, or some are missing.
    """
    played: dict[int, Episode] = {}
    for place, line in failed_lines(folder):
        entry = entry_of(line)
        if entry.error_class != WORKER_DIED:  # which leaves no episode
            played[entry.job] = _episode(place, line)
    for place, line in record_lines(folder, "episodes"):
        # A job that failed may have succeeded since.
        played[entry_of(line).job] = _episode(place, line)
    return [played[job] for job in sorted(played)]


def _episode(place: str, line: bytes) -> Episode:
    return read_record(_decode, line, place, kind="episode", version=EPISODE_FORMAT)
