"""Agent Gym: task-oriented dialogues with tool calls as Gymnasium environments.

Importing this package registers ``SGD-v0``; ``gym.make("agent_gym_env:SGD-v0")`` imports it by
itself.
"""

from agent_gym_env.envs.registration import register_environments
from agent_gym_env.types import Action, ToolCall, ToolResult

__all__ = ["Action", "ToolCall", "ToolResult"]
__version__ = "0.1.0"

register_environments()
