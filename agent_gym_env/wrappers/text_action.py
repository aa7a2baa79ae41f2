"""One completion as the action: words, with tool calls in Hermes tags."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from agent_gym_env.envs.spaces import MAX_TEXT_LENGTH, FreeText
from agent_gym_env.wrappers.checks import require_text_and_calls


class TextAction(gym.ActionWrapper[dict[str, str], str, Any], RecordConstructorArgs):
    """Takes one string as the action, the way a language model writes it.

    What stands in ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` is called, the rest is
    said. Nothing is lost but words that look like such a tag, or like one of reasoning such as
    ``<think>``: they cannot be said.

    Args:
        env: ``SGD-v0``, or wrappers around it that leave its action alone.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = TextAction(gym.make("SGD-v0"))
        >>> observation, info = env.reset(seed=0)
        >>> observation, *_ = env.step('<tool_call>{"name": "Teas_1-Brew"}</tool_call>')
        >>> observation["tool_result"][:55]
        '[{"name":"Teas_1-Brew","status":"error","error":"unknow'
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        require_text_and_calls(env, "TextAction")
        self.action_space = FreeText(2 * MAX_TEXT_LENGTH)

    def action(self, action: str) -> str:
        """Pass the completion on, which the environment reads.

        Raises:
            TypeError: it is no string.
        """
        if not isinstance(action, str):
            raise TypeError(f"the action is one string, not {type(action).__name__}")
        return action
