"""The conversation of a recorded episode, byte for byte as its environment wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from agent_gym_env.chat import MessageLog
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode, StepRecord
from agent_gym_env.types import Observation

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class TurnMessages(NamedTuple):
    """The conversation around one turn of the agent.

    Attributes:
        opening: log as the agent finds it when the turn opens, the user's words last.
        log: text of the log before the agent's reply, a JSON array without its closing bracket.
        reply: what the agent said.
    """

    opening: MessageLog
    log: str
    reply: str

    @property
    def closed(self) -> str:
        """The conversation with the reply at its end, JSON."""
        log = MessageLog(self.log)
        log.add_reply(self.reply)
        return log.messages


def transcript(episode: Episode) -> Iterator[TurnMessages]:
    """Yield the conversation around each turn; the last one is the whole conversation.

    Raises:
        DataError: a step's tool results do not answer its calls.
    """
    log = MessageLog()
    for number, turn in enumerate(episode.turns):
        log.add_user(turn.user)
        opening = log.copy()
        try:
            for step in turn.steps:
                add_step(log, step)
        except DataError as error:
            raise DataError(error.problem, dialogue_id=episode.dialogue_id, turn=number) from error
        reply = turn.steps[-1].action.text
        yield TurnMessages(opening, log.text, reply)
        log.add_reply(reply)


def observations(episode: Episode) -> Iterator[Observation]:
    """Yield the observation before each step, and the one after the last.

    If the episode did not end, its last observation lacks what the user would have said next.

    Raises:
        DataError: a step's tool results do not answer its calls.
    """
    log, tool_result = MessageLog(), ""
    for turn in episode.turns:
        log.add_user(turn.user)
        user = turn.user
        for step in turn.steps:
            yield _observation(episode, user, tool_result, log)
            add_step(log, step)
            user, tool_result = "", step.tool_result
        log.add_reply(turn.steps[-1].action.text)
    yield _observation(episode, "", tool_result, log)


def _observation(episode: Episode, user: str, tool_result: str, log: MessageLog) -> Observation:
    return {
        "user": user,
        "tool_result": tool_result,
        "messages": log.messages,
        "tools": episode.tools,
    }


def add_step(log: MessageLog, step: StepRecord) -> None:
    """Append the calls of a step and their results; nothing for a step without calls.

    Raises:
        DataError: the tool results do not answer the calls.
    """
    calls = step.action.tool_calls
    if not calls:
        return
    try:
        results = [bytes(result).decode() for result in _decode_array(step.tool_result)]
        if not results:
            raise ValueError(f"{len(calls)} calls, but no results")
        log.add_calls(calls, results)
    except (ValueError, msgspec.DecodeError) as problem:
        raise DataError(f"the tool results do not answer the calls: {problem}") from problem
