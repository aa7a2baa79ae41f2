"""A policy of your own, evaluated and compared with the offline ones on the same dialogues."""

import json
from typing import Any

from agent_gym_env import Action, Observation, ToolCall, compare, play_episodes, summarize


class FirstToolPolicy:
    """Calls the first tool that needs no argument it has not heard of, and reads out the result."""

    name = "first-tool"

    def reset(self, *, seed: int | None = None) -> None:
        """Nothing is remembered from one dialogue to the next."""

    def act(self, observation: Observation) -> Action:
        """Answer with what a tool has just said, else ask for the first argument that is needed."""
        if observation["tool_result"]:
            results = json.loads(observation["tool_result"])[0].get("results") or [{}]
            return Action(text="I found " + ", ".join(results[0].values()))
        function = json.loads(observation["tools"])[0]["function"]
        required = function["parameters"]["required"]
        if not required:
            return Action(tool_calls=(ToolCall(function["name"]),))
        return Action(text=f"What {required[0].replace('_', ' ')} would you like?")


world: dict[str, Any] = {"split": "dev", "reward": "balanced", "episodes": 30}
mine = list(play_episodes(FirstToolPolicy(), **world))
constant = list(play_episodes("constant", **world))

for episodes in (mine, constant):
    evaluation = summarize(episodes)
    reward = evaluation.reward
    print(f"{evaluation.policy:>10}: {reward.mean:.3f}  95 % [{reward.low:.3f}, {reward.high:.3f}]")

difference = compare(mine, constant).reward
print(f"difference {difference.difference:+.3f}: {mine[0].policy} is {difference.verdict}")
