"""The conversation as one prompt, in the chat format that small open models are trained on."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import msgspec
from gymnasium.utils import RecordConstructorArgs

from agent_gym_env.envs.spaces import MAX_OBSERVATION_LENGTH, FreeText
from agent_gym_env.types import Observation
from agent_gym_env.wrappers.checks import require_conversation

_decode = msgspec.json.Decoder().decode

_SYSTEM = """\
You are a helpful assistant. Answer the user in one or two sentences, or call a tool first.

# Tools
You may call one or more of these functions:
<tools>
{tools}
</tools>

To call one, answer with its name and arguments as JSON within tags:
<tool_call>
{{"name": "function name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


class TextObservation(gym.ObservationWrapper[str, Any, dict[str, str]], RecordConstructorArgs):
    r"""Shows the conversation as one string: a ChatML prompt for the agent's next message.

    The tools on offer stand in a system message and calls in Hermes ``<tool_call>`` tags, which is
    the form that `TextAction` reads. Nothing is lost but the numbering of calls; ``<|`` in what
    somebody said is written ``< |``, so that no text can open a message of its own.

    Args:
        env: ``SGD-v0``, or wrappers around it that leave its observation alone.

    Example:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = TextObservation(gym.make("SGD-v0"))
        >>> prompt, info = env.reset(seed=0)
        >>> prompt.startswith("<|im_start|>system"), prompt[-22:]
        (True, '<|im_start|>assistant\n')
    """

    def __init__(self, env: gym.Env[dict[str, str], Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        require_conversation(env, "TextObservation")
        self.observation_space = FreeText(MAX_OBSERVATION_LENGTH)

    def observation(self, observation: Observation) -> str:
        """Write the prompt."""
        return chat_prompt(observation)


def chat_prompt(observation: Observation) -> str:
    """Write an observation of ``SGD-v0`` as a ChatML prompt for the agent's next message."""
    parts = [_system_message(observation["tools"])]
    parts.extend(_message(message) for message in _decode(observation["messages"]))
    parts.append("<|im_start|>assistant\n")
    return "".join(parts)


@functools.lru_cache(maxsize=256)
def _system_message(tools: str) -> str:
    functions = (msgspec.json.encode(tool).decode() for tool in _decode(tools))
    return _chatml("system", _SYSTEM.format(tools=_quoted("\n".join(functions))))


def _message(message: Mapping[str, Any]) -> str:
    if message["role"] == "tool":
        return _chatml("user", f"<tool_response>\n{_quoted(message['content'])}\n</tool_response>")
    return _chatml(message["role"], "\n".join(_contents(message)))


def _contents(message: Mapping[str, Any]) -> Iterator[str]:
    if message.get("content"):
        yield _quoted(message["content"])
    for call in message.get("tool_calls", ()):
        function = call["function"]
        name = msgspec.json.encode(function["name"]).decode()
        body = f'{{"name": {name}, "arguments": {function["arguments"]}}}'
        yield f"<tool_call>\n{_quoted(body)}\n</tool_call>"


def _chatml(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def _quoted(text: str) -> str:
    return text.replace("<|", "< |")
