"""Simulated dialogues as bytes: the same seed gives the same ones, wherever they are played.

``python -m tests.reliability.simulated ARGUMENTS EPISODES`` prints their digest.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy

NOISY: dict[str, Any] = {
    "user": {"name": "agenda", "miss": 0.05, "volunteer": 0.5},
    "noise": {"acts": 0.1, "values": 0.1},
}
_encode = msgspec.json.Encoder().encode


def trace(env: SGDSimEnv, episodes: int, seed: int = 0) -> Iterator[bytes]:
    """Play the acts oracle; yield everything that each reset and step gives, and the state."""
    policy = ActsOraclePolicy(env)
    for episode in range(episodes):
        policy.reset()
        observation, info = env.reset(seed=seed if episode == 0 else None)
        yield _encode((observation, info))
        over = False
        while not over:
            observation, reward, over, truncated, info = env.step(policy.act(observation))
            yield _encode((observation, reward, over, truncated, info, env.get_state()))


def digest(arguments: dict[str, Any], episodes: int) -> str:
    """Hash what the first episodes of seed 0 give."""
    env = SGDSimEnv(**{"understanding": "acts", **arguments})
    hashed = hashlib.sha256()
    for given in trace(env, episodes):
        hashed.update(given)
    return hashed.hexdigest()


if __name__ == "__main__":
    print(digest(json.loads(sys.argv[1]), int(sys.argv[2])))
