"""Plays the recording through a running server: ``python validation/oracle.py URL``.

Each turn must earn the highest reward; the exit status is 1 if one does not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agent_gym_env.adapters.openenv_env import AgentGymClient, DialogueAction
from agent_gym_env.server.session import Session

EPISODES = 20


def main(url: str) -> int:
    """Play episodes and print the lowest reward of a turn."""
    config = json.loads((Path(__file__).parents[1] / "environment.json").read_text("utf-8"))
    session = Session(**config)  # knows what the corpus does; the server is played by its words
    rewards = []
    with AgentGymClient(base_url=url).sync() as env:
        for seed in range(EPISODES):
            session.reset(seed=seed)
            result = env.reset(seed=seed)
            while not result.done:
                action = session.env.recorded_action()
                calls = [{"name": c.name, "arguments": c.arguments} for c in action.tool_calls]
                result = env.step(DialogueAction(text=action.text, tool_calls=calls))
                session.step(action)
                if action.text:  # a call alone leaves the turn open and earns nothing
                    rewards.append(result.reward)
    print(json.dumps({"turns": len(rewards), "lowest_reward": min(rewards)}))
    return int(min(rewards) < 1.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"))
