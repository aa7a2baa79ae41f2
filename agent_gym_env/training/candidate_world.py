"""The environments of a training run, and what they share: candidates, encoder, dialogues."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.encoders.base import Encoder
from agent_gym_env.encoders.cached import CachedEncoder
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.policies.sb3_model import Candidates, Shape
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.learning import held_out, recall
from agent_gym_env.training.config import OnProgress
from agent_gym_env.wrappers.candidate_action import CandidateAction
from agent_gym_env.wrappers.dialogue_subset import DialogueSubset
from agent_gym_env.wrappers.encode_observation import EncodeObservation
from agent_gym_env.wrappers.turn_episodes import TurnEpisodes

VectorEnv = gym.Env[NDArray[np.float32], np.int64]


class WorldConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is played, and where candidates come from.

    Attributes:
        env: arguments of ``SGD-v0`` other than split, reward and a limit of steps.
        reward: as in ``SGD-v0``.
        lessons: share of the train split that the candidates are learned from.
        indexed: share of it that lends them its replies. What is left is trained on: a dialogue
            that lent its replies would find them again, as no dialogue of dev or test does.
    """

    env: dict[str, Any] = {}
    reward: str | dict[str, Any] = "balanced"
    lessons: float = 0.45
    indexed: float = 0.35

    def __post_init__(self) -> None:
        """Refuse what the run itself decides.

        Raises:
            ValueError: it is among the arguments.
        """
        taken = sorted(self.env.keys() & {"split", "reward", "max_episode_steps"})
        if taken:
            raise ValueError(
                f"env has {', '.join(taken)}: the reward stands beside it, the splits are those "
                "of training and evaluation, and dialogues or turns are played to their end"
            )


class CandidateWorld:
    """Makes environments over one corpus.

    Args:
        config: what is played.
        shape: how many candidates there are, and how texts are encoded.
        encoder: of texts; by default that of the shape.
        on_progress: called while the candidates are learned from the train split.

    Raises:
        ValueError: nothing of the train split is left to train on.
    """

    def __init__(
        self,
        config: WorldConfig,
        shape: Shape,
        *,
        encoder: Encoder | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._config = config
        self._k = shape.k
        self._encoder = CachedEncoder(encoder or shape.encoder())
        train = unwrap_sgd(self.bare("train")).split
        self.candidates: Candidates = {
            "lessons": int(config.lessons * len(train)),
            "indexed": int(config.indexed * len(train)),
        }
        ids = train.dialogue_ids()
        left = held_out(train, **self.candidates)
        if not left:
            raise ValueError(
                f"lessons={config.lessons} and indexed={config.indexed} leave none of the "
                f"{len(train)} dialogues of train to train on; their sum must be below 1"
            )
        self.dialogues = [ids[index] for index in left]
        told = on_progress and partial(on_progress, "candidates")
        self._memory = recall(train, **self.candidates, on_progress=told)

    def bare(self, split: str) -> gym.Env[Any, Any]:
        """Make ``SGD-v0`` over a split."""
        return gym.make(
            "agent_gym_env:SGD-v0",
            disable_env_checker=True,
            split=split,
            reward=self._config.reward,
            **self._config.env,
        )

    def spread(self, split: str, most: int) -> list[str]:
        """Choose dialogues of a split, evenly spread over it."""
        ids = unwrap_sgd(self.bare(split)).split.dialogue_ids()
        places = np.linspace(0, len(ids) - 1, min(most, len(ids)))
        return [ids[round(place)] for place in places.tolist()]

    def source(self) -> CandidateGenerator:
        """Make a source of candidates."""
        return CandidateGenerator(self._memory)

    def wrapped(self, source: CandidateGenerator, *, tries: int | None = None) -> VectorEnv:
        """Make an environment of numbers over what is left of train.

        Args:
            source: proposes candidates.
            tries: how often each turn is tried, as an episode of its own; ``None`` for dialogues as
                episodes.
        """
        env: gym.Env[Any, Any] = DialogueSubset(self.bare("train"), self.dialogues)
        if tries is not None:
            env = TurnEpisodes(env, tries)
        return EncodeObservation(CandidateAction(env, source, self._k), self._encoder)
