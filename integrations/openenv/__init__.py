"""Agent Gym's dialogues as an OpenEnv environment: the client and its types."""

from agent_gym_env.adapters.openenv_env import (
    AgentGymClient,
    DialogueAction,
    DialogueObservation,
    DialogueState,
)

__all__ = ["AgentGymClient", "DialogueAction", "DialogueObservation", "DialogueState"]
