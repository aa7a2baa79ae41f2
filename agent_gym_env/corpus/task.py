"""The compiled unit of a corpus: one dialogue, cut into the turns that an agent has to take.

Everything the environment needs at play time is worked out at compile time; the structs are written
as arrays, so that opening a task costs a few microseconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class _Compiled(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Written as an array: the order of the fields is part of the store's format."""


class SpokenValue(_Compiled, frozen=True):
    """A slot value that the recorded reply says.

    Attributes:
        slot: the slot.
        text: the value as the utterance has it.
        forms: other forms of the same value in the dialogue's annotation, the canonical one
            included.
    """

    slot: str
    text: str
    forms: tuple[str, ...] = ()


class RecordedCall(_Compiled, frozen=True):
    """The call that the corpus made in a turn.

    Attributes:
        name: the tool, ``Service-Intent``.
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
    """One turn of the agent: what it answers to, and what the corpus did.

    Attributes:
        user: the user's words that open the turn.
        text: the recorded reply.
        service: the service that the recorded turn is about.
        call: the call made before the reply.
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
        dialogue_id: unique within its split only.
        services: in the order of the corpus.
        turns: at least one.
        date: the dialogue's "today", ISO.
    """

    dialogue_id: str
    services: tuple[str, ...]
    turns: tuple[Turn, ...]
    date: str
