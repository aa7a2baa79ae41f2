"""Selected entries of ``info``, for libraries that copy or stack it at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from agent_gym_env.wrappers.checks import require_list

Info = dict[str, Any]


class SelectInfo(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Removes all entries of ``info`` except the given ones.

    stable-baselines3 copies each ``info`` deeply. Tianshou stacks them in arrays, where ``None``
    (such as ``info["target"]`` while a turn is open) becomes NaN.

    Args:
        env: any environment.
        keys: keys of the entries to keep.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = SelectInfo(gym.make("SGD-v0"), ["reward_valid"])
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step("Hello.")
        >>> info
        {'reward_valid': True}
    """

    def __init__(self, env: gym.Env[Any, Any], keys: Sequence[str]) -> None:
        require_list("keys", keys)
        RecordConstructorArgs.__init__(self, keys=list(keys))
        gym.Wrapper.__init__(self, env)
        self.keys = tuple(keys)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Info]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._selected(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._selected(info)

    def _selected(self, info: Info) -> Info:
        return {key: info[key] for key in self.keys if key in info}
