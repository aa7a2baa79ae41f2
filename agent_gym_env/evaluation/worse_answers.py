"""Single mistakes in an otherwise right turn, of the kinds that a judge has to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import structs

from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.rewards.corruptions import Corruption, Reply, corruptions
from agent_gym_env.types import ToolCall

_KNOWN = {
    "wrong values": "target with wrong values, with its call",
    "negated": "target negated, with its call",
}


def worse_answers(tasks: Sequence[Task], tools: Mapping[str, ToolSpec]) -> dict[str, Corruption]:
    """Make the ways to answer worse, by name; what does not apply to a turn leaves it as it is.

    Args:
        tasks: dialogues that the ways may take values and replies from.
        tools: tools by name, of the same split.
    """
    known = corruptions(tasks, tools, lambda word: 1.0)
    return {
        "values dropped": _values_dropped,
        **{way: known[name] for way, name in _KNOWN.items()},
        "call missing": _call_missing,
        "wrong tool": _wrong_tool(tools),
        "off topic": _off_topic(tasks),
    }


def _recorded_calls(task: Task, index: int) -> tuple[ToolCall, ...]:
    call = task.turns[index].call
    return () if call is None else (ToolCall(call.name, dict(call.arguments)),)


def _values_dropped(task: Task, index: int, rng: np.random.Generator) -> Reply:
    turn = task.turns[index]
    text = turn.text
    for value in turn.values:
        text = text.replace(value.text, "")
    return Reply(text, _recorded_calls(task, index))


def _call_missing(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(task.turns[index].text)


def _wrong_tool(tools: Mapping[str, ToolSpec]) -> Corruption:
    def answer(task: Task, index: int, rng: np.random.Generator) -> Reply:
        text = task.turns[index].text
        calls = _recorded_calls(task, index)
        others = [
            name
            for name, spec in tools.items()
            if spec.service in task.services and calls and name != calls[0].name
        ]
        if not others:
            return Reply(text, calls)
        name = others[int(rng.integers(len(others)))]
        return Reply(text, (structs.replace(calls[0], name=name),))

    return answer


def _off_topic(tasks: Sequence[Task]) -> Corruption:
    """Say what was said in some other dialogue."""

    def answer(task: Task, index: int, rng: np.random.Generator) -> Reply:
        others = [other for other in tasks if other.dialogue_id != task.dialogue_id]
        if not others:
            return Reply(task.turns[index].text, _recorded_calls(task, index))
        turns = others[int(rng.integers(len(others)))].turns
        return Reply(turns[int(rng.integers(len(turns)))].text, _recorded_calls(task, index))

    return answer
