"""Checks that wrappers make on the environment and on their arguments."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

_OBSERVATION = frozenset(("user", "tool_result", "messages", "tools"))
_ACTION = frozenset(("text", "tool_calls"))


def require_conversation(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Raise an error if the observation space is not that of ``SGD-v0``.

    Args:
        env: environment to be wrapped.
        wrapper: name of the wrapper.

    Raises:
        TypeError: the observation space lacks a text.
    """
    _require_leaves(env.observation_space, _OBSERVATION, wrapper, "observation")


def require_text_and_calls(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Raise an error if the action space is not that of ``SGD-v0``.

    Args:
        env: environment to be wrapped.
        wrapper: name of the wrapper.

    Raises:
        TypeError: the action space lacks a text.
    """
    _require_leaves(env.action_space, _ACTION, wrapper, "action")


def refuse_time_limit(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Raise an error if an environment contains a `TimeLimit`, whose count cannot be restored.

    Args:
        env: environment to be wrapped.
        wrapper: name of the wrapper.

    Raises:
        TypeError: the environment contains a `TimeLimit`.
    """
    inner = env
    while isinstance(inner, gym.Wrapper):
        if isinstance(inner, TimeLimit):
            raise TypeError(
                f"{wrapper} returns to the beginning of a turn, but the count of a TimeLimit "
                "inside it does not: make the environment without max_episode_steps and put the "
                f"TimeLimit around {wrapper}"
            )
        inner = inner.env


def require_list(name: str, value: object) -> None:
    """Raise an error if an argument is one string, which would be read as a list of characters.

    Raises:
        TypeError: the value is a string.
    """
    if isinstance(value, str):
        raise TypeError(f"{name} must be a list of strings, not the string {value!r}")


def require_positive(name: str, value: int) -> None:
    """Raise an error if a number is below 1.

    Raises:
        ValueError: the number is below 1.
    """
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


def _require_leaves(
    space: spaces.Space[Any], leaves: frozenset[str], wrapper: str, kind: str
) -> None:
    found = set(space.spaces) if isinstance(space, spaces.Dict) else None
    if found is None or not leaves <= found:
        has = type(space).__name__ if found is None else f"a Dict of {sorted(found)}"
        raise TypeError(
            f"{wrapper} wraps an environment whose {kind} space is a Dict with {sorted(leaves)}, "
            f"as that of SGD-v0 is; this one's is {has}"
        )
