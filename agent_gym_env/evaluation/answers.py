"""Recorded turns in their conversations, answered as they were or in some other way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import structs

from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.rewards.base import ClosedTurn
from agent_gym_env.rewards.corruptions import Reply
from agent_gym_env.rollout.episode import Episode, StepRecord, TurnRecord, transcript
from agent_gym_env.types import Action, ToolCall

MAX_TEXT_CHARS = 64 * 1024
"""An environment cuts a longer text, so a reward never sees one."""

_encode = msgspec.json.Encoder().encode


class RecordedTurn(NamedTuple):
    """A turn of a corpus.

    Attributes:
        asked: the conversation up to the user's words that open it, as `ClosedTurn.log`.
        closed: what the corpus did.
    """

    asked: str
    closed: ClosedTurn

    def answered(self, reply: Reply) -> ClosedTurn:
        """Close the turn in another way; a call that nobody recorded has no result."""
        text = reply.text[:MAX_TEXT_CHARS]
        if reply.calls == self.closed.calls:
            return structs.replace(self.closed, text=text)
        return structs.replace(self.closed, text=text, calls=reply.calls, log=self.asked)


def recorded_turns(task: Task, tools: str = "[]") -> Iterator[RecordedTurn]:
    """Yield the turns of a dialogue as it was recorded.

    Args:
        task: the dialogue.
        tools: that were on offer, JSON in OpenAI's function format.
    """
    for index, messages in enumerate(transcript(_as_played(task))):
        turn = task.turns[index]
        closed = ClosedTurn(
            turn.text, _calls(turn), turn, task.date, log=messages.log, tools=tools, index=index
        )
        yield RecordedTurn(messages.opening.text, closed)


def _as_played(task: Task) -> Episode:
    return Episode(
        dialogue_id=task.dialogue_id,
        split="",
        corpus="",
        services=task.services,
        date=task.date,
        policy="oracle",
        reward="",
        turns=tuple(TurnRecord(turn.user, tuple(_steps(turn)), turn) for turn in task.turns),
    )


def _steps(turn: Turn) -> Iterator[StepRecord]:
    call = turn.call
    if call is not None:
        result = {
            "name": call.name,
            "status": call.status,
            "results": msgspec.Raw(call.results.encode()),
        }
        yield StepRecord(Action(tool_calls=_calls(turn)), _encode([result]).decode())
    yield StepRecord(Action(text=turn.text))


def _calls(turn: Turn) -> tuple[ToolCall, ...]:
    return () if turn.call is None else (ToolCall(turn.call.name, dict(turn.call.arguments)),)
