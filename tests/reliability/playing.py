"""Episodes as bytes: what runs with the same seed must have in common, wherever they run.

``python -m tests.reliability.playing CORPUS SPLIT REWARD EPISODES`` prints their digest.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.types import Action, ToolCall

REPOSITORY = Path(__file__).resolve().parents[2]
LONG = os.environ.get("AGENT_GYM_LONG") == "1"

_ODD_ACTIONS: tuple[Any, ...] = (
    "",
    "Grüße \U0001f375 \ud800",
    {"text": "", "tool_calls": "nonsense"},
    {"text": "Hi", "tool_calls": '[{"name": "NoSuchTool"}, {"name": 7}]'},
    Action(tool_calls=(ToolCall("FindRestaurants"),) * 5),
    "x" * 70_000,
)
_canonical = msgspec.json.Encoder(order="deterministic").encode


def in_fresh_process(module: str, *arguments: object, **environment: str) -> str:
    """Run a module of the tests in a new process, and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def sized(quick: int, long: int) -> int:
    """Return the size of a test: ``long`` if ``AGENT_GYM_LONG=1``, else ``quick``."""
    return long if LONG else quick


class Mischief:
    """Acts as the corpus did, at random, or oddly, and the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._uniform = UniformPolicy(seed=seed)

    def __call__(self, env: SGDEnv, observation: dict[str, Any]) -> Any:
        """Choose an action."""
        draw = self._random.random()
        if draw < 0.4:
            recorded = env.recorded_action()
            calls_first = recorded.tool_calls and not observation["tool_result"]
            return Action(tool_calls=recorded.tool_calls) if calls_first else recorded.text
        if draw < 0.9:
            return self._uniform.act(observation)
        return _ODD_ACTIONS[self._random.integers(len(_ODD_ACTIONS))]


Chooser = Callable[[SGDEnv, dict[str, Any]], Any]


def trace(env: SGDEnv, choose: Chooser, *, episodes: int, seed: int = 0) -> Iterator[bytes]:
    """Play; yields everything that each reset and step gives, as canonical JSON."""
    for episode in range(episodes):
        observation, info = env.reset(seed=seed if episode == 0 else None)
        yield _canonical((observation, info))
        over = False
        while not over:
            observation, reward, over, truncated, info = env.step(choose(env, observation))
            yield _canonical((observation, reward, over, truncated, info))


def digest(corpus: str, split: str, reward: str, episodes: int) -> str:
    """Hash what the first episodes of seed 0 give."""
    env = SGDEnv(corpus, split, reward=reward)
    hashed = hashlib.sha256()
    for given in trace(env, Mischief(0), episodes=episodes):
        hashed.update(given)
    return hashed.hexdigest()


if __name__ == "__main__":
    _, corpus_, split_, reward_, episodes_ = sys.argv
    print(digest(corpus_, split_, reward_, int(episodes_)))
