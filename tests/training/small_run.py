"""A PPO run of a second on the sample corpus."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_gym_env.training.config import OnProgress
from agent_gym_env.training.ppo_config import PPOConfig

RUN: dict[str, Any] = {
    "evaluation": {"dialogues": 4, "every": 128},
    "total_timesteps": 256,
    "n_envs": 4,
    "n_steps": 16,
    "batch_size": 32,
    "n_epochs": 2,
    "checkpoint_every": 128,
}
"""Settings that every PPO run has."""

SMALL: dict[str, Any] = {
    **RUN,
    "shape": {"k": 8, "encoder_dim": 16, "hidden": 16},
    "cloning": {"dialogues": 4, "epochs": 2},
    "tries": 2,
}


def small(**changes: Any) -> PPOConfig:
    """Configure the run."""
    return msgspec.convert({**SMALL, **changes}, PPOConfig)


class StoppedError(Exception):
    """Any exception that ends a run."""


def stop_after(steps: int) -> OnProgress:
    """End a run when so many steps are done."""

    def on_progress(phase: str, done: int, total: int) -> None:
        if phase == "ppo" and done >= steps:
            raise StoppedError

    return on_progress
