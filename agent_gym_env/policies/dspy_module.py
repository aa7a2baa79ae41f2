"""The agent as a DSPy program: its signature, its module, and the file that keeps its state."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.chat import tool_names
from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.prompt import json_lines, plain_messages, plain_tools
from agent_gym_env.storage.files import as_utf8, read_file, written_whole
from agent_gym_env.types import Action, Observation, ToolCall

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy.utils.saving import get_dependency_versions  # noqa: E402

FIELDS = ("conversation", "tools", "reasoning", "response", "tool_call")
"""Fields of a demonstration."""

_NOTHING = ("none", "null", "n/a", "{}", "[]", '""', "(empty)")
"""Texts that models write for an empty field."""

MAX_PROGRAM_BYTES = 16 << 20
"""Largest size of a program's file."""

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
    """Predicts reasoning, a response and a tool call from a conversation and its tools."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.ChainOfThought(SGDAgent)

    def forward(self, conversation: str, tools: str) -> dspy.Prediction:
        """Predict the next step."""
        return self.predict(conversation=conversation, tools=tools)

    @property
    def instructions(self) -> str:
        """Instructions of the program for the model."""
        text: str = self.predict.predict.signature.instructions
        return text

    @property
    def demos(self) -> list[dict[str, str]]:
        """Demonstrations in the prompt, each as texts by field."""
        return [plain_demo(demo) for demo in self.predict.predict.demos]


def plain_demo(demo: Mapping[str, Any]) -> dict[str, str]:
    """Return the `FIELDS` that a demonstration has, as text; drop all other entries."""
    return {name: str(demo[name]) for name in FIELDS if demo.get(name) is not None}


def program_inputs(observation: Observation, today: str | None) -> dict[str, str]:
    """Return the inputs of a program for an observation.

    Args:
        observation: observation of the unwrapped environment.
        today: date of the dialogue, ISO, which is not in the observation; ``None`` if it is not
            known.
    """
    date = None if today is None else datetime.date.fromisoformat(today)
    day = [] if date is None else [{"today": f"{date:%A}, {today}"}]
    said = plain_messages(_decode_list(observation["messages"]))
    return {
        "conversation": json_lines([*day, *said]),
        "tools": json_lines(plain_tools(_decode_list(observation["tools"]))),
    }


def program_action(prediction: dspy.Prediction, observation: Observation) -> Action:
    """Return the action that a program predicted.

    Words beside a call are dropped: they would end the turn before the result of the call arrives.
    A call that cannot be parsed becomes the reply.
    """
    names = tool_names(_decode_list(observation["tools"]))
    words, wanted = _text(prediction.response), _text(prediction.tool_call)
    # Inside the tag any name is a call's: the environment says which tools there are.
    calls = parse_reply(f"<tool_call>{wanted}</tool_call>", names).tool_calls if wanted else ()
    text = "" if calls else "\n".join(filter(None, (words, wanted)))
    return Action(text=text, tool_calls=calls)


def tool_call_text(call: ToolCall | None) -> str:
    """Return a call as the text that a program predicts for it."""
    if call is None:
        return ""
    return msgspec.json.encode({"name": call.name, "arguments": call.arguments}).decode()


def _text(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in _NOTHING else text


class _Signature(msgspec.Struct):
    instructions: str


class _Predictor(msgspec.Struct):
    signature: _Signature
    demos: list[dict[str, Any]] = []


class _State(msgspec.Struct, rename={"predict": "predict.predict"}):
    predict: _Predictor


def save_program(program: SGDAgentModule, path: Path) -> None:
    """Write the state of a program as JSON, as DSPy does, but without a model or key.

    Raises:
        StorageError: the file cannot be written.
    """
    state = program.dump_state()
    predictor = state["predict.predict"]
    predictor.update(lm=None, traces=[], train=[])
    predictor["demos"] = [{"augmented": True, **demo} for demo in program.demos]
    metadata = {"dependency_versions": get_dependency_versions()}
    with written_whole(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode({**state, "metadata": metadata})))


def load_program(path: str | Path) -> SGDAgentModule:
    """Read the instructions and demonstrations of a program.

    The file need not be trusted. Models, keys, addresses and settings in it are not read, so it
    cannot redirect requests, and nothing in it is executed.

    Raises:
        DataError: the file is not a program that `save_program` wrote.
    """
    state = _read_state(Path(path))
    program = SGDAgentModule()
    predictor = program.predict.predict
    predictor.signature = predictor.signature.with_instructions(state.signature.instructions)
    predictor.demos = [dspy.Example(augmented=True, **plain_demo(demo)) for demo in state.demos]
    return program


def _read_state(path: Path) -> _Predictor:
    try:
        content = as_utf8(read_file(path, largest=MAX_PROGRAM_BYTES), str(path))
        return msgspec.json.decode(content, type=_State).predict
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"not the state of an SGDAgentModule as JSON: {error}", file=str(path)
        ) from error
