"""What wrappers ask of the environment that they are put around."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

_OBSERVATION = frozenset(("user", "tool_result", "messages", "tools"))
_ACTION = frozenset(("text", "tool_calls"))


def require_conversation(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse an environment whose observation is not that of ``SGD-v0``.

    Raises:
        TypeError: it is another one.
    """
    _require_leaves(env.observation_space, _OBSERVATION, wrapper, "observation")


def require_text_and_calls(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse an environment whose action is not that of ``SGD-v0``.

    Raises:
        TypeError: it is another one.
    """
    _require_leaves(env.action_space, _ACTION, wrapper, "action")


def refuse_time_limit(env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse an environment with a `TimeLimit` in it, for wrappers that go back in a dialogue.

    Raises:
        TypeError: there is one, whose count would not go back.
    """
    inner = env
    while isinstance(inner, gym.Wrapper):
        if isinstance(inner, TimeLimit):
            raise TypeError(
                f"{wrapper} goes back to where a turn began, and the count of a TimeLimit inside "
                f"it would not: make the environment without max_episode_steps and put the "
                f"TimeLimit around {wrapper}"
            )
        inner = inner.env


def require_string(space: spaces.Space[Any], wrapper: str, inside: str) -> None:
    """Refuse a space that is not one of single strings.

    Args:
        space: the space found.
        wrapper: who asks.
        inside: the wrapper that would have made strings of it.

    Raises:
        TypeError: it is another one.
    """
    if not isinstance(space, spaces.Text):
        raise TypeError(
            f"{wrapper} wraps an environment whose space is a Text, not "
            f"{type(space).__name__}: put {inside} around it first"
        )


def require_list(name: str, value: object) -> None:
    """Refuse a string where strings are expected, of which it would be taken for a list.

    Raises:
        TypeError: it is one.
    """
    if isinstance(value, str):
        raise TypeError(f"{name} is a list of strings, not the string {value!r}")


def require_positive(name: str, value: int) -> None:
    """Refuse a number below 1.

    Raises:
        ValueError: it is below 1.
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
