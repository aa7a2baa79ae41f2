"""Branch points out of episodes: where several of them had the same conversation so far."""

from __future__ import annotations

import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from agent_gym_env.errors import StorageError
from agent_gym_env.rollout.branches import Branch, BranchPoint
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.episode_file import read_episodes
from agent_gym_env.rollout.transcript import transcript

_PARTITIONS = 64
"""Files that the episodes are sorted into; one of them at a time is held in memory."""

_encode = msgspec.json.Encoder().encode


def common_states(episodes: Iterable[Episode]) -> Iterator[BranchPoint]:
    """Find the turns that began with the same conversation, byte for byte, in several episodes.

    Args:
        episodes: of several policies or seeds, in any order. They pass through temporary files, so
            that their number does not matter.

    Raises:
        DataError: an episode does not hold together.
        StorageError: there is no room for temporary files.
    """
    for group in _by_dialogue(episodes):
        yield from _branch_points(group)


def _by_dialogue(episodes: Iterable[Episode]) -> Iterator[list[Episode]]:
    """Group episodes as a hash join of data bases does: partition on disk, then in memory."""
    with _temporary_folder() as folder:
        for path in _partition(episodes, folder):
            groups: defaultdict[bytes, list[Episode]] = defaultdict(list)
            for episode in read_episodes(path):
                groups[_dialogue(episode)].append(episode)
            yield from groups.values()


def _partition(episodes: Iterable[Episode], folder: Path) -> list[Path]:
    paths = [folder / f"{number}.jsonl" for number in range(_PARTITIONS)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for episode in episodes:
            file = files[zlib.crc32(_dialogue(episode)) % _PARTITIONS]
            file.write(_encode(episode) + b"\n")
    return paths


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="agent-gym-") as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write temporary files: {error.strerror or error}. Make room for them, or name "
            "another folder by the environment variable TMPDIR"
        ) from error


def _dialogue(episode: Episode) -> bytes:
    """Give what episodes must agree in, to have states in common."""
    return _encode((episode.corpus, episode.dialogue_id, episode.tools, episode.reward))


def _branch_points(group: Sequence[Episode]) -> Iterator[BranchPoint]:
    states: defaultdict[tuple[int, str], list[Branch]] = defaultdict(list)
    for episode in group:
        for number, (opening, _, _) in enumerate(transcript(episode)):
            states[number, opening.messages].append(_branch(episode, number))
    for (turn, messages), branches in states.items():
        if len(branches) > 1:
            yield _branch_point(group[0], turn, messages, branches)


def _branch(episode: Episode, turn: int) -> Branch:
    played = episode.turns[turn]
    return Branch(
        policy=episode.policy,
        seed=episode.seed,
        steps=played.steps,
        reward=played.reward,
        components=played.components,
    )


def _branch_point(
    episode: Episode, turn: int, messages: str, branches: Sequence[Branch]
) -> BranchPoint:
    return BranchPoint(
        dialogue_id=episode.dialogue_id,
        split=episode.split,
        corpus=episode.corpus,
        schema_variant=episode.schema_variant,
        services=episode.services,
        seen_services=episode.seen_services,
        date=episode.date,
        reward=episode.reward,
        turn=turn,
        messages=messages,
        branches=tuple(branches),
        tools=episode.tools,
    )
