"""Branches from one state: several answers to the same conversation, as preference pairs need."""

from typing import Any

import gymnasium as gym

env: Any = gym.make("agent_gym_env:SGD-v0", split="train", reward="balanced")
observation, info = env.reset(seed=1)
env.step(env.unwrapped.recorded_action())
state = env.unwrapped.get_state()  # plain JSON: keep it, send it, come back to it

candidates = [
    env.unwrapped.recorded_action(),
    "Is there anything else I can help you with?",
    {"text": "One moment.", "tool_calls": '[{"name": "NoSuchTool", "arguments": {}}]'},
    "",
]
for candidate in candidates:
    env.unwrapped.set_state(state)
    _, reward, _, _, info = env.step(candidate)
    print(f"{reward:.3f}", info["action_error"], getattr(candidate, "text", candidate))
