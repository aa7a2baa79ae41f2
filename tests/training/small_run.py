"""A PPO run of a second on the sample corpus."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_gym_env.training.ppo_config import PPOConfig

SMALL: dict[str, Any] = {
    "shape": {"k": 8, "encoder_dim": 16, "hidden": 16},
    "cloning": {"dialogues": 4, "epochs": 2},
    "evaluation": {"dialogues": 4, "every": 128},
    "tries": 2,
    "total_timesteps": 256,
    "n_envs": 4,
    "n_steps": 16,
    "batch_size": 32,
    "n_epochs": 2,
    "checkpoint_every": 128,
}


def small(**changes: Any) -> PPOConfig:
    """Configure the run."""
    return msgspec.convert({**SMALL, **changes}, PPOConfig)
