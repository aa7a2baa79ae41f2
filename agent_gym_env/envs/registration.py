"""Names of the environments in Gymnasium's registry."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry


def register_environments() -> None:
    """Register ``SGD-v0``, unless it is registered."""
    if "SGD-v0" not in registry:
        register(
            id="SGD-v0",
            entry_point="agent_gym_env.envs.dialogue:SGDEnv",
            vector_entry_point="agent_gym_env.envs.vector:SGDVectorEnv",
        )
