"""What is to be collected: everything that decides the episodes, in JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.rollout.manifest import Kind
from agent_gym_env.rollout.play import episode_seed


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A configuration; what two runs of the same one collect is the same.

    A *job* is what is done or not done: one episode, or the branches of one dialogue.

    Attributes:
        policies: each a name with options. There are several only where they branch.
        world: arguments of the environment.
        corpus: fingerprint of the compiled split.
        jobs: how many; if there are more than dialogues, these are played again with other seeds.
        seed: of the choice of dialogues, and of each episode.
        best_of: how many episodes are played of which the best is kept.
        keep_all: whether all of them are kept, each as a job of its own.
        branches: how often each policy plays on from each state; 0 to collect episodes.
        path: the policy that walks from state to state.
    """

    policies: tuple[dict[str, Any], ...]
    world: dict[str, Any]
    corpus: str
    jobs: int
    seed: int = 0
    best_of: int = 1
    keep_all: bool = False
    branches: int = 0
    path: dict[str, Any] = msgspec.field(default_factory=lambda: {"name": "oracle"})

    def __post_init__(self) -> None:
        if self.best_of < 1 or self.branches < 0:
            raise ValueError("best_of must be at least 1, and branches at least 0")
        if self.branches and self.best_of > 1:
            raise ValueError("best_of is for episodes: branches are all kept")
        if self.keep_all and self.best_of == 1:
            raise ValueError("keep_all keeps all the episodes of best_of, which must be above 1")
        if len(self.policies) != 1 and not (self.policies and self.branches):
            raise ValueError(
                f"episodes are collected of one policy, not of {len(self.policies)}; several play "
                "on from the same states with branches"
            )

    @property
    def kind(self) -> Kind:
        """What the records are."""
        return "branches" if self.branches else "episodes"

    def as_json(self) -> dict[str, Any]:
        """Return the configuration in JSON values for files: without credentials."""
        config: dict[str, Any] = without_credentials(msgspec.json.decode(msgspec.json.encode(self)))
        return config

    @property
    def dialogues(self) -> int:
        """How many dialogues are played, again ones counted."""
        return self.jobs // (self.best_of if self.keep_all else 1)

    def job(self, number: int, dialogue_ids: Sequence[str]) -> Job:
        """Say what a job is.

        Args:
            number: of the job.
            dialogue_ids: those that were chosen.
        """
        at_once = 1 if self.keep_all else self.best_of
        candidate, place = 0, number
        if self.keep_all:
            place, candidate = divmod(number, self.best_of)
        again, dialogue = divmod(place, len(dialogue_ids))
        dialogue_id = dialogue_ids[dialogue]
        # Added, not drawn: no two episodes or branches of a state have the same seed.
        of_one = max(self.best_of, self.branches)
        first = episode_seed(self.seed, dialogue_id) + again * of_one + candidate
        seeds = tuple((first + more) % (1 << 32) for more in range(at_once))
        return Job(number, dialogue_id, seeds)


class Job(NamedTuple):
    """One job.

    Attributes:
        number: of the job.
        dialogue_id: the dialogue to be played.
        seeds: of its episodes, or, of branches, of the way through the dialogue.
    """

    number: int
    dialogue_id: str
    seeds: tuple[int, ...]
