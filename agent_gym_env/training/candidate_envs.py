"""The environments of a PPO run over candidate actions, and the parts that they share."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.encoders.text import CachedEncoder, Encoder
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.policies.sb3_file import Candidates, Shape
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.training import held_out, load_or_train
from agent_gym_env.training.config import OnProgress
from agent_gym_env.training.played_dialogues import evenly_spread, refuse_taken
from agent_gym_env.wrappers.candidate_action import CandidateAction
from agent_gym_env.wrappers.dialogue_subset import DialogueSubset
from agent_gym_env.wrappers.encode_observation import EncodeObservation
from agent_gym_env.wrappers.turn_episodes import TurnEpisodes

VectorEnv = gym.Env[NDArray[np.float32], np.int64]


class CandidateEnvsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the environments and of the candidates.

    The train split is divided in three. PPO trains on the rest, because a dialogue would find its
    own replies among the candidates, as no dialogue of dev or test does.

    Attributes:
        env: arguments of ``SGD-v0`` other than split, reward and a limit of steps.
        reward: reward of ``SGD-v0``, by name or as a mapping.
        training_dialogues: share of the train split that the retrieval model is trained on.
        indexed: share of the train split whose replies become candidates.
    """

    env: dict[str, Any] = {}
    reward: str | dict[str, Any] = "balanced"
    training_dialogues: float = 0.45
    indexed: float = 0.35

    def __post_init__(self) -> None:
        """Check the arguments of the environment.

        Raises:
            ValueError: they contain an argument that the run itself sets.
        """
        refuse_taken(self.env)


class CandidateEnvs:
    """Makes environments over one corpus, which share one source of candidates and one encoder.

    Args:
        config: settings of the environments.
        shape: number of candidates, and the encoding of texts.
        encoder: encoder of texts; by default the one of ``shape``.
        on_progress: called while the candidates' model is trained.

    Attributes:
        candidates: number of dialogues in each part of the train split.
        dialogues: ids of the dialogues to train on.

    Raises:
        ValueError: no dialogue of the train split is left to train on.
    """

    def __init__(
        self,
        config: CandidateEnvsConfig,
        shape: Shape,
        *,
        encoder: Encoder | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._config = config
        self._k = shape.k
        self._encoder = CachedEncoder(encoder or shape.encoder())
        train = unwrap_sgd(self.make_sgd_env("train")).split
        self.candidates: Candidates = {
            "training_dialogues": int(config.training_dialogues * len(train)),
            "indexed": int(config.indexed * len(train)),
        }
        ids = train.dialogue_ids()
        left = held_out(train, **self.candidates)
        if not left:
            raise ValueError(
                f"training_dialogues={config.training_dialogues} and indexed={config.indexed} "
                f"leave none of the {len(train)} dialogues of train to train on; their sum must be "
                "below 1"
            )
        self.dialogues = [ids[index] for index in left]
        told = on_progress and partial(on_progress, "candidates")
        self._model = load_or_train(train, **self.candidates, on_progress=told)

    def make_sgd_env(self, split: str) -> gym.Env[Any, Any]:
        """Make ``SGD-v0`` without wrappers."""
        return gym.make(
            "agent_gym_env:SGD-v0",
            disable_env_checker=True,
            split=split,
            reward=self._config.reward,
            **self._config.env,
        )

    def spread(self, split: str, most: int) -> list[str]:
        """Choose at most so many dialogues, evenly spread over a split."""
        ids = unwrap_sgd(self.make_sgd_env(split)).split.dialogue_ids()
        return evenly_spread(ids, most)

    def source(self) -> CandidateGenerator:
        """Make a source of candidates."""
        return CandidateGenerator(self._model)

    def make_env(self, source: CandidateGenerator, *, tries: int | None = None) -> VectorEnv:
        """Make an environment of numbers over the dialogues to train on.

        Args:
            source: source of the candidates.
            tries: number of times that each turn is played, as a separate episode; ``None`` for
                dialogues as episodes.
        """
        env: gym.Env[Any, Any] = DialogueSubset(self.make_sgd_env("train"), self.dialogues)
        if tries is not None:
            env = TurnEpisodes(env, tries)
        return EncodeObservation(CandidateAction(env, source, self._k), self._encoder)
