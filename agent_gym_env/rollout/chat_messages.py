"""Messages of training rows: the system message first, the arguments of calls as objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from agent_gym_env.chat import Message, MessageLog, read_messages
from agent_gym_env.errors import DataError
from agent_gym_env.lm.prompt import system_message
from agent_gym_env.rollout.episode import StepRecord
from agent_gym_env.rollout.transcript import add_step


def conversation(messages: str, today: str, rules: str) -> list[Message]:
    """Read an observation's ``messages``, and put the system message before them.

    Args:
        messages: JSON.
        today: date of the dialogue, ISO.
        rules: text of the system message, with ``{today}`` where the date belongs.

    Raises:
        DataError: the date cannot be read, or the messages are not an environment's.
    """
    try:
        day = date.fromisoformat(today)
    except ValueError as error:
        raise DataError(f"date must be like 2019-03-01, not {today!r}") from error
    return [system_message(rules, day), *read_messages(messages)]


def turn_messages(steps: Sequence[StepRecord], call_count: int) -> list[Message]:
    """Write a whole turn of the agent: its calls, their results and its reply.

    Args:
        steps: all steps of the turn.
        call_count: how many calls the dialogue has had before.

    Raises:
        DataError: the tool results do not answer the calls.
    """
    log = MessageLog("", call_count)
    for step in steps:
        add_step(log, step)
    log.add_reply(steps[-1].action.text)
    return read_messages(f"[{log.text[1:]}]")
