"""Agent Gym's dialogues for verifiers and prime-rl: one taskset and its environment."""

from agent_gym_env.adapters.verifiers_env import DialogueEnv, DialogueTaskset

__all__ = ["DialogueEnv", "DialogueTaskset"]
