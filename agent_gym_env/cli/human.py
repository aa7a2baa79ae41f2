"""A policy for a person at a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from agent_gym_env.chat import functions_of
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall

HELP = """\
You are the agent. Type one of these:
  WORDS                                  say the words to the user
  WORDS | ACT [SLOT [VALUE]] | …         say the words, and give their dialogue acts, such as
                                         REQUEST city, OFFER name "Blue Moon", CONFIRM time 18:00,
                                         INFORM, NOTIFY_SUCCESS, NOTIFY_FAILURE, REQ_MORE, GOODBYE
  call TOOL SLOT=VALUE SLOT="TWO WORDS"  call a tool; its result is shown
  tools                                  list the tools
  help                                   show this text
End the input (Ctrl-D) to say goodbye."""

_DECODE_TOOLS = msgspec.json.Decoder(list[dict[str, Any]]).decode


class HumanPolicy:
    """Asks a person for each action, on the standard input."""

    name = "human"

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode and explain what can be typed."""
        print(HELP)

    def act(self, observation: Observation) -> Action:
        """Read lines until one is an action."""
        while True:
            try:
                line = input("agent> ").strip()
            except EOFError:
                return Action("Goodbye.", acts=(DialogueAct("GOODBYE"),))
            if line in ("help", "tools"):
                print(HELP if line == "help" else _listed(observation["tools"]))
                continue
            try:
                return read_line(line)
            except ValueError as problem:
                print(f"not understood: {problem}; type help for help")


def read_line(line: str) -> Action:
    """Read what a person typed as an action.

    Raises:
        ValueError: a call or an act is malformed.
    """
    if line.startswith("call "):
        return Action(tool_calls=(_read_call(shlex.split(line)[1:]),))
    text, *acts = line.split("|")
    return Action(text.strip(), acts=tuple(_read_act(act) for act in acts))


def _read_call(words: list[str]) -> ToolCall:
    if not words:
        raise ValueError("expected call TOOL SLOT=VALUE …, found no tool")
    arguments = {}
    for word in words[1:]:
        slot, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"expected SLOT=VALUE, found {word!r}")
        arguments[slot] = value
    return ToolCall(words[0], arguments)


def _read_act(text: str) -> DialogueAct:
    words = shlex.split(text)
    if not 1 <= len(words) <= 3:
        raise ValueError(f"expected ACT, ACT SLOT or ACT SLOT VALUE, found {text.strip()!r}")
    return DialogueAct(words[0].upper(), *words[1:])


def _listed(tools: str) -> str:
    return "\n".join(map(_described, functions_of(_DECODE_TOOLS(tools))))


def _described(function: Mapping[str, Any]) -> str:
    """Return a tool on one line, with the optional arguments in brackets."""
    parameters = function["parameters"]
    required = parameters.get("required", ())
    named = ", ".join(
        slot if slot in required else f"[{slot}]" for slot in parameters.get("properties", ())
    )
    return f"{function['name']}({named}): {function.get('description', '')}"
