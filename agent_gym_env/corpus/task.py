"""The compiled form of a dialogue: the turns that an agent has to take.

The compiler works out everything that the environment needs. The structs are written as arrays, so
that reading a dialogue takes a few microseconds.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from agent_gym_env.types import ToolStatus


class _Compiled(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of structs that are written as arrays: the order of fields is part of the format."""


class SpokenValue(_Compiled, frozen=True):
    """A slot value that the recorded reply says.

    Attributes:
        slot: name of the slot.
        text: value as the utterance says it.
        forms: other forms of the same value in the dialogue's annotation, the canonical one
            included.
    """

    slot: str
    text: str
    forms: tuple[str, ...] = ()


class RecordedCall(_Compiled, frozen=True):
    """A call that the corpus made in a turn.

    Attributes:
        name: name of the tool, for example ``Service-Intent``.
        arguments: values by argument name: texts in SGD, any JSON value in logs.
        status: ``failure`` where SGD's acts say so, since its results do not carry the outcome;
            ``error`` where a log marks the result as one.
        results: the result as JSON: an array of rows in SGD, any value in logs.
        forms: for an argument, the spoken forms that the dialogue's annotation gives for its value.
        round: number of the message of its turn that made the call, from 0. The calls of a round
            are made together, before the agent reads a result of any of them.
    """

    name: str
    arguments: dict[str, Any]
    status: ToolStatus
    results: str
    forms: dict[str, tuple[str, ...]] = {}
    round: int = 0


class Turn(_Compiled, frozen=True):
    """One turn of the agent, with the recorded reply.

    Attributes:
        user: words of the user that open the turn.
        text: recorded reply.
        service: name of the service that the recorded turn is about.
        call: recorded call before the reply, if any. SGD has one in a turn at most.
        values: slot values that the annotation marks in the reply, in order.
        more_calls: further calls of the turn, in order.
    """

    user: str
    text: str
    service: str
    call: RecordedCall | None = None
    values: tuple[SpokenValue, ...] = ()
    more_calls: tuple[RecordedCall, ...] = ()

    @property
    def calls(self) -> tuple[RecordedCall, ...]:
        """All calls of the turn, in order."""
        return () if self.call is None else (self.call, *self.more_calls)

    @property
    def rounds(self) -> list[tuple[RecordedCall, ...]]:
        """Calls of the turn, in groups that were made together."""
        return [tuple(calls) for _, calls in groupby(self.calls, key=attrgetter("round"))]


class Task(_Compiled, frozen=True):
    """One dialogue.

    Attributes:
        dialogue_id: id, unique within its split only.
        services: names of the services, in the order of the corpus; in a log, keys of the tools.
        turns: turns of the agent, at least one.
        date: day of the conversation, ISO; ``None`` if it is not known.
        system: system prompt of a log; ``None`` without one.
    """

    dialogue_id: str
    services: tuple[str, ...]
    turns: tuple[Turn, ...]
    date: str | None
    system: str | None = None
