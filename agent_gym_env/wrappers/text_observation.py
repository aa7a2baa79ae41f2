"""The conversation as one prompt, in the chat format that many small open models are trained on."""

from __future__ import annotations

import functools
from datetime import date
from typing import Any

import gymnasium as gym
import msgspec
from gymnasium.utils import RecordConstructorArgs

from agent_gym_env.chat import Message
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.envs.spaces import MAX_OBSERVATION_LENGTH, FreeText
from agent_gym_env.lm.prompt import RULES, as_text, system_message
from agent_gym_env.types import Observation
from agent_gym_env.wrappers.checks import require_conversation

_decode = msgspec.json.Decoder().decode


class TextObservation(gym.ObservationWrapper[str, Any, dict[str, str]], RecordConstructorArgs):
    r"""Shows the conversation as one string: a ChatML prompt for the agent's next message.

    The rules and the tools on offer stand in a system message, as `LLMPolicy` has them; calls stand
    in Hermes ``<tool_call>`` tags, the form that `TextAction` reads. Nothing is lost but the
    numbering of calls; ``<|`` in what somebody said becomes ``< |``, so that no text opens a
    message of its own.

    Args:
        env: ``SGD-v0``, or wrappers around it that leave its observation alone.
        rules: what the agent is told; ``{today}`` stands for the date.
        today: the dialogue's "today", ISO.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = TextObservation(gym.make("SGD-v0"))
        >>> prompt, info = env.reset(seed=0)
        >>> prompt.startswith("<|im_start|>system"), prompt[-22:]
        (True, '<|im_start|>assistant\n')
    """

    def __init__(
        self, env: gym.Env[dict[str, str], Any], *, rules: str = RULES, today: str = TODAY
    ) -> None:
        RecordConstructorArgs.__init__(self, rules=rules, today=today)
        gym.ObservationWrapper.__init__(self, env)
        require_conversation(env, "TextObservation")
        self.observation_space = FreeText(MAX_OBSERVATION_LENGTH)
        self._rules = rules
        self._today = date.fromisoformat(today)

    def observation(self, observation: Observation) -> str:
        """Write the prompt."""
        system = _system_message(self._rules, self._today, observation["tools"])
        said = as_text(_decode(observation["messages"]))
        return "".join(map(_chatml, (system, *said))) + "<|im_start|>assistant\n"


@functools.lru_cache(maxsize=256)
def _system_message(rules: str, today: date, tools: str) -> Message:
    return system_message(rules, today, _decode(tools))


def _chatml(message: Message) -> str:
    content = message["content"].replace("<|", "< |")
    return f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"
