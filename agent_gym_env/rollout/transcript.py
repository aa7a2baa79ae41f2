"""The conversation of a recorded episode, byte for byte as its environment wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from agent_gym_env.envs.conversation import (
    calls_message,
    reply_message,
    tool_call_message,
    tool_message,
)
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode, StepRecord

_encode = msgspec.json.Encoder().encode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class TurnMessages(NamedTuple):
    """Messages at the close of a turn, in OpenAI's chat format.

    Attributes:
        log: before the agent's reply, a JSON array without its closing bracket.
        reply: the reply, to be put behind the log.
    """

    log: str
    reply: str


def transcript(episode: Episode) -> Iterator[TurnMessages]:
    """Yield the messages at the close of each turn; the last ones are the whole conversation.

    Raises:
        DataError: a step's tool results do not answer its calls.
    """
    log, separator, executed = "[", "", 0
    for number, turn in enumerate(episode.turns):
        log += f'{separator}{{"role":"user","content":{_encode(turn.user).decode()}}}'
        separator = ","
        for step in turn.steps:
            try:
                log += exchange(step, executed)
            except DataError as error:
                raise DataError(
                    error.problem, dialogue_id=episode.dialogue_id, turn=number
                ) from error
            executed += len(step.action.tool_calls)
        reply = reply_message(turn.steps[-1].action.text)
        yield TurnMessages(log, reply)
        log += reply


def openings(episode: Episode) -> Iterator[str]:
    """Yield the conversation as the agent finds it at the beginning of each turn, JSON.

    Raises:
        DataError: a step's tool results do not answer its calls.
    """
    before = "["
    for turn, closed in zip(episode.turns, transcript(episode), strict=True):
        yield f'{before}{{"role":"user","content":{_encode(turn.user).decode()}}}]'
        before = f"{closed.log}{closed.reply},"


def exchange(step: StepRecord, executed: int) -> str:
    """Write the messages of a step's calls and their results, each with its comma before it.

    Args:
        step: ``""`` is what one without calls gives.
        executed: how many calls the dialogue has seen before; they number the calls' ids.

    Raises:
        DataError: the tool results do not answer the calls.
    """
    calls = step.action.tool_calls
    if not calls:
        return ""
    ids = [f"call_{number}" for number in range(executed, executed + len(calls))]
    requests = [tool_call_message(*each) for each in zip(ids, calls, strict=True)]
    try:
        contents = [bytes(result).decode() for result in _decode_array(step.tool_result)]
        answers = [tool_message(*each) for each in zip(ids, contents, strict=True)]
    except (ValueError, msgspec.DecodeError) as problem:
        raise DataError(f"the tool results do not answer the calls: {problem}") from problem
    return calls_message(requests, answers)
