"""Writes the dialogues of a log as the retrieval agent reads them: one call a turn, texts, rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agent_gym_env.chat import rows_of
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.values.equality import value_text


def plain_task(task: Task) -> Task:
    """Return a dialogue in which each turn has its first call, with what is text in it.

    The agent takes the part of a tool's name before its last dash for a service.
    """
    return msgspec.structs.replace(task, turns=tuple(map(_plain_turn, task.turns)))


def _text_arguments(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments that are texts, numbers or booleans, as texts."""
    return {
        name: value_text(value)
        for name, value in arguments.items()
        if isinstance(value, (str, int, float))
    }


def _plain_turn(turn: Turn) -> Turn:
    if turn.call is None:
        return turn
    service = turn.call.name.rpartition("-")[0]
    return msgspec.structs.replace(
        turn, call=_plain_call(turn.call), service=service, more_calls=()
    )


def _plain_call(call: RecordedCall) -> RecordedCall:
    rows = msgspec.json.encode(rows_of(msgspec.json.decode(call.results))).decode()
    return msgspec.structs.replace(
        call, arguments=_text_arguments(call.arguments), results=rows, forms={}
    )
