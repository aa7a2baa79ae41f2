"""The compiled form of a dialogue: the turns that an agent has to take.

The compiler works out everything that the environment needs. The structs are written as arrays, so
that reading a dialogue takes a few microseconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec


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
    """The call that the corpus made in a turn.

    Attributes:
        name: name of the tool, ``Service-Intent``.
        arguments: canonical values by argument name.
        status: ``failure`` where the system's acts say so; SGD's results do not carry the outcome.
        results: the rows, as a JSON array.
        forms: for an argument, the spoken forms that the dialogue's annotation gives for its value.
    """

    name: str
    arguments: dict[str, str]
    status: Literal["success", "failure"]
    results: str
    forms: dict[str, tuple[str, ...]] = {}


class Turn(_Compiled, frozen=True):
    """One turn of the agent, with the recorded reply.

    Attributes:
        user: words of the user that open the turn.
        text: recorded reply.
        service: name of the service that the recorded turn is about.
        call: recorded call before the reply, if any.
        values: slot values that the annotation marks in the reply, in order.
    """

    user: str
    text: str
    service: str
    call: RecordedCall | None = None
    values: tuple[SpokenValue, ...] = ()


class Task(_Compiled, frozen=True):
    """One dialogue.

    Attributes:
        dialogue_id: id, unique within its split only.
        services: names of the services, in the order of the corpus.
        turns: turns of the agent, at least one.
        date: day of the conversation, ISO.
    """

    dialogue_id: str
    services: tuple[str, ...]
    turns: tuple[Turn, ...]
    date: str
