"""PPO over dialogue acts in ``SGDSim-v0``, with stable-baselines3: whole dialogues as episodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym

from agent_gym_env.extras import require
from agent_gym_env.policies.act_policy import FORMAT, ActPolicy, Header
from agent_gym_env.process_wide import random_state_kept
from agent_gym_env.storage.array_file import Arrays
from agent_gym_env.training.act_envs import ActEnvs
from agent_gym_env.training.cloning import clone
from agent_gym_env.training.config import OnProgress
from agent_gym_env.training.ppo_config import ActPPOConfig
from agent_gym_env.wrappers.select_info import SelectInfo

require("stable_baselines3", extra="sb3")
require("sb3_contrib", extra="sb3")

import torch  # noqa: E402
from sb3_contrib import MaskablePPO  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402
from stable_baselines3.common.vec_env import VecMonitor  # noqa: E402
from torch import nn  # noqa: E402

from agent_gym_env.training.ppo_run import (  # noqa: E402
    PPOOptions,
    make_algorithm,
    passed,
    run_ppo,
    seed_of,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


@random_state_kept()
def train_act_ppo(config: ActPPOConfig, **options: Unpack[PPOOptions]) -> ActPolicy:
    """Train a policy to choose dialogue acts and calls, for the success of whole dialogues.

    It begins as a clone of its teacher, if the settings name demonstrations, and is then
    improved by MaskablePPO on dialogues of train. At each checkpoint, every run begins new
    dialogues.

    Args:
        config: settings of the run.
        **options: see `agent_gym_env.training.ppo_run.PPOOptions`; the points of the learning curve
            have the strict success.

    Returns:
        The trained policy.

    Raises:
        ValueError: no dialogue is left to train on, or ``resume`` or ``tensorboard`` is set without
            ``out``.
        DataError: the checkpoint cannot be read.
        ResumeMismatchError: the checkpoint has other settings.
        StorageError: the folder holds a run already, or cannot be written.
        AgentGymError: the weights contain NaN or infinity.
    """
    return run_ppo(partial(_ActTask, config), config, **options)


class _ActTask:
    """Choosing dialogue acts in ``SGDSim-v0``."""

    keeps_dialogues = False

    def __init__(self, config: ActPPOConfig, on_progress: OnProgress) -> None:
        self.config = config
        self._on_progress = on_progress
        self._envs = ActEnvs(config.world)
        self._measured = self._envs.sim_env(config.evaluation.split)

    def make_model(self, learning_rate: Callable[[float], float]) -> OnPolicyAlgorithm:
        """Make the model and its environments."""
        hidden = [self.config.hidden, self.config.hidden]

        def make_env() -> gym.Env[Any, Any]:
            return SelectInfo(self._envs.make_env(), ["reward_valid"])

        return make_algorithm(
            MaskablePPO,
            "MlpPolicy",
            [make_env] * self.config.n_envs,
            self.config,
            learning_rate,
            policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": nn.Tanh},
        )

    def before_update(self, model: OnPolicyAlgorithm) -> None:
        """Begin new dialogues after a checkpoint; freeze a clone while the critic is learned."""
        config, steps = self.config, model.num_timesteps
        rollout = config.n_envs * config.n_steps
        if steps and passed(steps - rollout, steps, config.checkpoint_every):
            model._last_obs = None
            cast(VecMonitor, model.env).seed(seed_of(config.seed, steps))
        is_frozen = bool(config.cloning.dialogues) and steps < config.critic_updates * rollout
        for weights in _Actor(model).actor_parameters():
            weights.requires_grad_(not is_frozen)

    def clone(self, model: OnPolicyAlgorithm) -> None:
        """Let the model imitate its teacher."""
        cloning, seed = self.config.cloning, self.config.seed
        advance = partial(self._on_progress, "cloning")
        shown = self._envs.demonstrate(cloning.dialogues, seed, advance, self.config.teacher)
        clone(
            _Actor(model),
            shown,
            epochs=cloning.epochs,
            learning_rate=cloning.learning_rate,
            seed=seed,
        )

    def policy(self, model: OnPolicyAlgorithm, name: str) -> ActPolicy:
        """Return the policy with the model's present weights, for the environment of the curve."""
        world, envs, env = self.config.world, self._envs, self._measured
        header = Header(FORMAT, name, world.hears, envs.training_dialogues, 0, world.wording)
        return ActPolicy(envs.choices(env), _Actor(model).arrays(), header)

    def evaluation(self) -> tuple[gym.Env[Any, Any], list[str]]:
        """Return the environment and the dialogues of the learning curve."""
        evaluation, envs = self.config.evaluation, self._envs
        return self._measured, envs.spread(evaluation.split, evaluation.dialogues)


class _Actor:
    """The part of a model that scores choices."""

    def __init__(self, model: OnPolicyAlgorithm) -> None:
        self._policy: Any = model.policy

    def forward_actor(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the scores of the choices, shape ``(n, 20)``."""
        scores: torch.Tensor = self._policy.action_net(
            self._policy.mlp_extractor.forward_actor(vectors)
        )
        return scores

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the weights that the scores depend on."""
        policy = self._policy
        return [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]

    def arrays(self) -> Arrays:
        """Return the weights under the names of `ActPolicy`."""
        first, _, second, _ = self._policy.mlp_extractor.policy_net
        layers = {"hidden_1": first, "hidden_2": second, "scores": self._policy.action_net}
        found: Arrays = {}
        for name, layer in layers.items():
            found[name] = layer.weight.detach().numpy().copy()
            found[f"{name}_bias"] = layer.bias.detach().numpy().copy()
        return found
