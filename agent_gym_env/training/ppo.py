"""PPO over candidate actions, with stable-baselines3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np

from agent_gym_env.extras import require
from agent_gym_env.policies.candidate_network import CandidateNetwork
from agent_gym_env.policies.sb3_model import SB3Policy
from agent_gym_env.process_wide import random_state_kept
from agent_gym_env.training.candidate_envs import CandidateEnvs
from agent_gym_env.training.cloning import clone, demonstrate
from agent_gym_env.training.config import OnProgress
from agent_gym_env.training.ppo_config import PPOConfig
from agent_gym_env.wrappers.select_info import SelectInfo

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

from sb3_contrib import MaskablePPO  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402

from agent_gym_env.training.ppo_run import PPOOptions, make_algorithm, run_ppo  # noqa: E402
from agent_gym_env.training.sb3_parts import (  # noqa: E402
    CandidateActorCritic,
    MaskableCandidateActorCritic,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


@random_state_kept()
def train_ppo(config: PPOConfig, **options: Unpack[PPOOptions]) -> SB3Policy:
    """Train a policy to choose among candidates.

    Args:
        config: settings of the run.
        **options: see `agent_gym_env.training.ppo_run.PPOOptions`: ``out``, ``resume``,
            ``tensorboard``, ``on_progress``, ``on_measured``, ``on_point`` and ``tracker``.

    Returns:
        The trained policy.

    Raises:
        ValueError: no dialogue is left to train on, or ``resume`` or ``tensorboard`` is set without
            ``out``.
        DataError: the checkpoint cannot be read.
        ResumeMismatchError: the checkpoint has other settings.
        StorageError: the folder holds a run already, or cannot be written.
        AgentGymError: the weights contain NaN or infinity, or hardly any step has a reward.
    """
    return run_ppo(partial(_CandidateTask, config), config, **options)


class _CandidateTask:
    """Choosing among candidates in ``SGD-v0``."""

    keeps_dialogues = True

    def __init__(self, config: PPOConfig, on_progress: OnProgress) -> None:
        self.config = config
        self._on_progress = on_progress
        self._envs = CandidateEnvs(config.world, config.shape, on_progress=on_progress)

    def make_model(self, learning_rate: Callable[[float], float]) -> OnPolicyAlgorithm:
        """Make the model and its environments."""
        config = self.config
        source = self._envs.source()

        def make_env() -> gym.Env[Any, Any]:
            return SelectInfo(self._envs.make_env(source, tries=config.tries), ["reward_valid"])

        return make_algorithm(
            MaskablePPO if config.masked else PPO,
            MaskableCandidateActorCritic if config.masked else CandidateActorCritic,
            [make_env] * config.n_envs,
            config,
            learning_rate,
            policy_kwargs={"shape": config.shape},
        )

    def before_update(self, model: OnPolicyAlgorithm) -> None:
        """Change nothing."""

    def policy(self, model: OnPolicyAlgorithm, name: str) -> SB3Policy:
        """Return the policy with the model's present weights."""
        return SB3Policy(
            _network(model),
            self._envs.source(),
            self.config.shape,
            name=name,
            candidates=self._envs.candidates,
            masked=self.config.masked,
        )

    def clone(self, model: OnPolicyAlgorithm) -> None:
        """Let the model choose the best candidate in hindsight."""
        cloning = self.config.cloning
        source = self._envs.source()
        env = self._envs.make_env(source)
        random = np.random.default_rng(self.config.seed)
        dialogues = random.permutation(self._envs.dialogues)[: cloning.dialogues].tolist()
        advance = partial(self._on_progress, "cloning")
        shown = demonstrate(env, source, dialogues, on_progress=advance)
        if not self.config.masked:
            shown = shown._replace(masks=np.ones_like(shown.masks))
        clone(
            _network(model),
            shown,
            epochs=cloning.epochs,
            learning_rate=cloning.learning_rate,
            seed=self.config.seed,
        )

    def evaluation(self) -> tuple[gym.Env[Any, Any], list[str]]:
        """Return the environment and the dialogues of the learning curve."""
        evaluation, envs = self.config.evaluation, self._envs
        ids = envs.spread(evaluation.split, evaluation.dialogues)
        return envs.make_sgd_env(evaluation.split), ids


def _network(model: OnPolicyAlgorithm) -> CandidateNetwork:
    return cast(CandidateNetwork, model.policy.mlp_extractor)
