"""Names of the environments in Gymnasium's registry."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry


def register_environments() -> None:
    """Register ``SGD-v0`` and ``SGDSim-v0``, unless they are registered."""
    if "SGD-v0" not in registry:
        register(
            id="SGD-v0",
            entry_point="agent_gym_env.envs.dialogue:SGDEnv",
            vector_entry_point="agent_gym_env.envs.vector:SGDVectorEnv",
        )
    if "SGDSim-v0" not in registry:
        register(id="SGDSim-v0", entry_point="agent_gym_env.envs.sgd_sim:SGDSimEnv")
