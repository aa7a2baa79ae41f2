"""Observations and actions as single strings, as language models read and write them."""

from __future__ import annotations

import functools
from datetime import date
from typing import Any

import gymnasium as gym
import msgspec
from gymnasium.utils import RecordConstructorArgs

from agent_gym_env.chat import Message
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.envs.spaces import MAX_OBSERVATION_LENGTH, MAX_TEXT_LENGTH, FreeText
from agent_gym_env.lm.prompt import RULES, as_text, in_front, system_message
from agent_gym_env.types import Observation
from agent_gym_env.wrappers.checks import require_conversation, require_text_and_calls

_decode = msgspec.json.Decoder().decode


class TextObservation(gym.ObservationWrapper[str, Any, dict[str, str]], RecordConstructorArgs):
    r"""Transforms the observation into one string: a ChatML prompt for the agent's next message.

    ChatML is the chat format that many small open models are trained on. A system message holds the
    rules and the tools, as in `LLMPolicy`. Calls are written in Hermes ``<tool_call>`` tags, which
    `TextAction` reads. In the words of user and agent ``<|`` becomes ``< |``, so that no text can
    begin a new message.

    Information that is lost: the ids of calls.

    Args:
        env: ``SGD-v0``, or wrappers around it that do not change its observation.
        rules: instructions for the agent; ``{today}`` is replaced by the date.
        today: date of the dialogue, ISO.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = TextObservation(gym.make("SGD-v0"))
        >>> prompt, info = env.reset(seed=0)
        >>> prompt.startswith("<|im_start|>system"), prompt[-22:]
        (True, '<|im_start|>assistant\n')
    """

    def __init__(
        self, env: gym.Env[dict[str, str], Any], *, rules: str = RULES, today: str | None = TODAY
    ) -> None:
        RecordConstructorArgs.__init__(self, rules=rules, today=today)
        gym.ObservationWrapper.__init__(self, env)
        require_conversation(env, "TextObservation")
        self.observation_space = FreeText(MAX_OBSERVATION_LENGTH)
        self._rules = rules
        self._today = None if today is None else date.fromisoformat(today)

    def observation(self, observation: Observation) -> str:
        """Return the prompt."""
        system = _system_message(self._rules, self._today, observation["tools"])
        messages = in_front(system, as_text(_decode(observation["messages"])))
        return "".join(map(_chatml, messages)) + "<|im_start|>assistant\n"


class TextAction(gym.ActionWrapper[dict[str, str], str, Any], RecordConstructorArgs):
    """Takes one string as the action, as a language model writes it.

    Each ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` becomes a call, and the rest of
    the string is said to the user.

    Actions that are lost: replies that contain such a tag, or a tag of reasoning such as
    ``<think>``.

    Args:
        env: ``SGD-v0``, or wrappers around it that do not change its action.

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
        """Return the string, which the environment itself can read.

        Raises:
            TypeError: the action is not a string.
        """
        if not isinstance(action, str):
            raise TypeError(f"the action is one string, not {type(action).__name__}")
        return action


@functools.lru_cache(maxsize=256)
def _system_message(rules: str, today: date | None, tools: str) -> Message:
    return system_message(rules, today, _decode(tools))


def _chatml(message: Message) -> str:
    content = message["content"].replace("<|", "< |")
    return f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"
