"""The agent as a DSPy module: from a conversation and tools to reasoning, a response and a call."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from agent_gym_env.chat import tool_names
from agent_gym_env.extras import require
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.prompt import json_lines, plain_messages, plain_tools
from agent_gym_env.types import Action, Observation, ToolCall

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)

FIELDS = ("conversation", "tools", "reasoning", "response", "tool_call")
"""Of a demonstration."""

_NOTHING = ("none", "null", "n/a", "{}", "[]", '""', "(empty)")
"""What models write where they mean to write nothing."""

_decode_list = msgspec.json.Decoder(list[dict[str, Any]]).decode


class SGDAgent(dspy.Signature):  # type: ignore[misc]  # dspy is untyped
    """You assist a user in a conversation and can call tools on the user's behalf.

    Decide what to do now. Call a tool when the user's request needs one and all its required
    arguments are known; its result comes back to you before you answer. Otherwise answer the user:
    ask for what is missing, say what was found, or confirm what was done. A call that changes
    something is made only after the user has confirmed its arguments. Write dates as YYYY-MM-DD and
    times as HH:MM in arguments.
    """

    conversation: str = dspy.InputField(
        desc="the date, then what was said and done so far, one JSON record a line"
    )
    tools: str = dspy.InputField(desc="the tools on offer, one JSON record a line")
    response: str = dspy.OutputField(desc="words for the user; empty if a tool is called now")
    tool_call: str = dspy.OutputField(
        desc='the call to make now, as {"name": "...", "arguments": {...}}; empty for none'
    )


class SGDAgentModule(dspy.Module):  # type: ignore[misc]  # dspy is untyped
    """From a conversation and the tools on offer to reasoning, a response and a tool call."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.ChainOfThought(SGDAgent)

    def forward(self, conversation: str, tools: str) -> dspy.Prediction:
        """Decide on the next step."""
        return self.predict(conversation=conversation, tools=tools)

    @property
    def instructions(self) -> str:
        """What the program tells the model to do."""
        text: str = self.predict.predict.signature.instructions
        return text

    @property
    def demos(self) -> list[dict[str, str]]:
        """The demonstrations in its prompt, field by field."""
        return [plain_demo(demo) for demo in self.predict.predict.demos]


def plain_demo(demo: Mapping[str, Any]) -> dict[str, str]:
    """Give the fields of a demonstration that a prompt shows, and nothing else of it."""
    return {name: str(demo[name]) for name in FIELDS if demo.get(name) is not None}


def program_inputs(observation: Observation, today: str) -> dict[str, str]:
    """Write an observation as the inputs of a program.

    Args:
        observation: of the environment.
        today: the dialogue's date, ISO, which the observation does not tell.
    """
    date = datetime.date.fromisoformat(today)
    said = plain_messages(_decode_list(observation["messages"]))
    return {
        "conversation": json_lines([{"today": f"{date:%A}, {today}"}, *said]),
        "tools": json_lines(plain_tools(_decode_list(observation["tools"]))),
    }


def program_action(prediction: dspy.Prediction, observation: Observation) -> Action:
    """Read what a program decided.

    Words beside a call are not said: they would end the turn before its result is there. A call
    that cannot be read is said as it is written.
    """
    names = tool_names(_decode_list(observation["tools"]))
    words, wanted = _text(prediction.response), _text(prediction.tool_call)
    # Inside the tag any name is a call's: the environment says which tools there are.
    calls = parse_reply(f"<tool_call>{wanted}</tool_call>", names).tool_calls if wanted else ()
    text = "" if calls else "\n".join(filter(None, (words, wanted)))
    return Action(text=text, tool_calls=calls)


def tool_call_text(call: ToolCall | None) -> str:
    """Write a call as a program does."""
    if call is None:
        return ""
    return msgspec.json.encode({"name": call.name, "arguments": call.arguments}).decode()


def _text(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _NOTHING else text
