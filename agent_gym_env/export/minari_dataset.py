"""Writing episodes as a Minari dataset that loads without this package."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from gymnasium import spaces

from agent_gym_env.export.rows import Tally
from agent_gym_env.extras import require
from agent_gym_env.rollout.episode import Episode, StepRecord, observations
from agent_gym_env.storage.files import folder_written_whole

require("minari", extra="data")

import minari  # noqa: E402
from minari.data_collector import EpisodeBuffer  # noqa: E402
from minari.dataset.minari_dataset import parse_dataset_id  # noqa: E402
from minari.dataset.minari_storage import MinariStorage  # noqa: E402

LEAVES = ("user", "tool_result", "messages", "tools")
"""Leaves of an observation."""

_REPLACED_NUL = "\N{REPLACEMENT CHARACTER}"
"""Replacement for NUL, which ends a text in HDF5."""


def write_minari(
    folder: Path,
    read: Callable[[], Iterable[Episode]],
    tally: Tally,
    *,
    leaves: Sequence[str] = LEAVES,
) -> None:
    """Write a dataset; the folder appears when the last episode is written.

    Its spaces are Gymnasium's own `Dict` and `Text`, with the characters and lengths that occur.

    Args:
        folder: folder to create. Its name is the dataset's id, such as ``oracle-v0``.
        read: function that returns the episodes. It is called twice, since the spaces are written
            first.
        tally: counts the steps that are written, and the episodes without turns.
        leaves: leaves of the observation to write. ``messages`` and ``tools`` need most of the
            space and can be derived from the others.

    Raises:
        ValueError: the folder's name is not a valid Minari id, or a leaf is unknown.
        DataError: an episode is inconsistent.
        StorageError: the folder exists, or the disk is full or read-only.
        AgentGymError: no step was written.
    """
    parse_dataset_id(folder.name)
    unknown = set(leaves) - set(LEAVES)
    if unknown or not leaves:
        raise ValueError(f"leaves must be some of {LEAVES}, not {tuple(leaves)}")
    survey = _Survey(leaves)
    for episode in read():
        survey.see(episode)
    with folder_written_whole(folder) as unfinished:
        data = (unfinished / "data").absolute()  # Minari joins a relative path with itself
        data.mkdir()
        storage = MinariStorage.new(
            data,
            observation_space=survey.space(leaves),
            action_space=survey.space(("text", "tool_calls")),
            data_format="hdf5",
        )
        storage.update_metadata(
            {
                "dataset_id": folder.name,
                "minari_version": minari.__version__,
                "algorithm_name": ", ".join(sorted(survey.policies)),
            }
        )
        played: list[dict[str, str]] = []
        storage.update_episodes(_buffers(read(), leaves, tally, played))
        storage.update_episode_metadata(played, range(len(played)))
        tally.require_rows()


class _Survey:
    """Characters and lengths of all texts, and the names of the policies.

    Attributes:
        policies: names of the policies.
    """

    def __init__(self, leaves: Sequence[str]) -> None:
        self._leaves = leaves
        self._characters: set[str] = set()
        self._lengths: defaultdict[str, int] = defaultdict(int)
        self.policies: set[str] = set()

    def see(self, episode: Episode) -> None:
        self.policies.add(episode.policy)
        for observation in observations(episode):
            for leaf in self._leaves:
                self._see(leaf, observation[leaf])
        for step in _steps(episode):
            for leaf, text in _action(step).items():
                self._see(leaf, text)

    def _see(self, leaf: str, text: str) -> None:
        self._characters.update(_storable(text))
        self._lengths[leaf] = max(self._lengths[leaf], len(text))

    def space(self, leaves: Sequence[str]) -> spaces.Dict:
        charset = "".join(sorted(self._characters)) or " "
        return spaces.Dict(
            {
                leaf: spaces.Text(max(self._lengths[leaf], 1), min_length=0, charset=charset)
                for leaf in leaves
            }
        )


def _buffers(
    episodes: Iterable[Episode],
    leaves: Sequence[str],
    tally: Tally,
    played: list[dict[str, str]],
) -> Iterator[EpisodeBuffer]:
    """Yield the buffers that Minari writes; append the policy and split of each to ``played``."""
    for episode in episodes:
        if not episode.turns:
            tally.leave_out("no turns")
            continue
        buffer = _buffer(episode, leaves)
        tally.written += len(buffer.rewards)
        played.append({"policy": episode.policy, "split": episode.split})
        yield buffer


def _buffer(episode: Episode, leaves: Sequence[str]) -> EpisodeBuffer:
    seen = list(observations(episode))
    actions = [_action(step) for step in _steps(episode)]
    rewards = list(_rewards(episode))
    open_ended = [False] * (len(rewards) - 1)
    return EpisodeBuffer(
        seed=episode.seed,
        options={"dialogue_id": episode.dialogue_id},
        observations={leaf: [_storable(each[leaf]) for each in seen] for leaf in leaves},
        actions={leaf: [_storable(each[leaf]) for each in actions] for leaf in actions[0]},
        rewards=[0.0 if reward is None else reward for reward in rewards],
        terminations=[*open_ended, episode.terminated],
        truncations=[*open_ended, not episode.terminated],
        # Like those of Minari's collector: one more than steps, the first one from `reset`.
        infos={"reward_valid": [True, *(reward is not None for reward in rewards)]},
    )


def _steps(episode: Episode) -> Iterator[StepRecord]:
    return (step for turn in episode.turns for step in turn.steps)


def _action(step: StepRecord) -> dict[str, str]:
    """Encode an action as a member of the environment's action space."""
    calls = step.action.tool_calls
    written = msgspec.json.encode(calls).decode() if calls else ""
    return {"text": step.action.text, "tool_calls": written}


def _rewards(episode: Episode) -> Iterator[float | None]:
    """Yield the reward of each step: the turn's reward at its last step, 0 before."""
    for turn in episode.turns:
        yield from [0.0] * (len(turn.steps) - 1)
        yield turn.reward


def _storable(text: str) -> str:
    return text.replace("\0", _REPLACED_NUL)
