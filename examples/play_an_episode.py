"""One dialogue of the sample corpus, played by hand: look, call a tool, answer."""

import json
from typing import Any

import gymnasium as gym

env: Any = gym.make("agent_gym_env:SGD-v0", split="dev", reward="balanced", render_mode="ansi")
observation, info = env.reset(seed=4)
print("user:", observation["user"])
for tool in json.loads(observation["tools"]):
    print("tool:", tool["function"]["name"], tool["function"]["parameters"]["required"])

terminated = truncated = False
while not (terminated or truncated):
    # What a teacher would do; put your model here: it may return text, tool calls, or both.
    action = env.unwrapped.recorded_action()
    observation, reward, terminated, truncated, info = env.step(action)
    print(f"reward {reward:.3f}", info["reward_components"])

print(env.render())
