"""The file format of the Schema-Guided Dialogue dataset, field for field.

A corpus is a folder (or an archive of one) with ``train``, ``dev`` and ``test`` below it; each
holds ``schema.json``, an array of `Service`, and shards ``dialogues_NNN.json``, arrays of
`Dialogue`. Optional ``sgd_x/data/v1`` to ``v5`` hold rewritten schemas in the same layout.

Source: https://github.com/google-research-datasets/dstc8-schema-guided-dialogue (README), and
Lee et al., "SGD-X: A Benchmark for Robust Generalization in Schema-Guided Dialogue Systems", 2022.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SPLITS = ("train", "dev", "test")
SCHEMA_VARIANTS = ("v1", "v2", "v3", "v4", "v5")
TODAY = "2019-03-01"
"""Day of every dialogue of SGD: dates such as "tomorrow" are relative to it."""

Act = Literal[
    # of both speakers
    "INFORM",
    "GOODBYE",
    # of the user
    "INFORM_INTENT",
    "NEGATE_INTENT",
    "AFFIRM_INTENT",
    "AFFIRM",
    "NEGATE",
    "SELECT",
    "REQUEST_ALTS",
    "THANK_YOU",
    # of the system
    "REQUEST",
    "CONFIRM",
    "OFFER",
    "OFFER_INTENT",
    "INFORM_COUNT",
    "NOTIFY_SUCCESS",
    "NOTIFY_FAILURE",
    "REQ_MORE",
]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of all structs here. A field that the format does not have is an error."""


class DialogueAction(_Record, frozen=True):
    """A dialogue act with its slot and values.

    Attributes:
        act: kind of act.
        slot: name of the slot; ``""`` for none; ``"intent"`` or ``"count"`` for some acts.
        values: values as the utterance says them.
        canonical_values: values as the service takes them (``"2019-03-01"`` for ``"today"``).
    """

    act: Act
    slot: str = ""
    values: list[str] = []
    canonical_values: list[str] = []


class SlotSpan(_Record, frozen=True):
    """The characters of an utterance that say the value of a slot."""

    slot: str
    start: int
    exclusive_end: int


class ServiceCall(_Record, frozen=True):
    """A call to an intent of the frame's service, with canonical values."""

    method: str
    parameters: dict[str, str]


class DialogueState(_Record, frozen=True):
    """The user's wishes about one service so far.

    Attributes:
        active_intent: name of the intent, or ``"NONE"``.
        requested_slots: attributes that the user asks for in this turn.
        slot_values: for each slot, the spoken variants of its current value.
    """

    active_intent: str
    requested_slots: list[str]
    slot_values: dict[str, list[str]]


class UserFrame(_Record, frozen=True):
    """The part of a user's turn that belongs to one service."""

    service: str
    actions: list[DialogueAction]
    slots: list[SlotSpan]
    state: DialogueState


class SystemFrame(_Record, frozen=True):
    """The part of a system's turn that belongs to one service.

    The call happens before the utterance, which reports its results.
    """

    service: str
    actions: list[DialogueAction]
    slots: list[SlotSpan]
    service_call: ServiceCall | None = None
    service_results: list[dict[str, str]] | None = None


class UserTurn(_Record, frozen=True, tag="USER", tag_field="speaker"):
    """A turn of the user."""

    utterance: str
    frames: list[UserFrame]


class SystemTurn(_Record, frozen=True, tag="SYSTEM", tag_field="speaker"):
    """A turn of the system."""

    utterance: str
    frames: list[SystemFrame]


class Dialogue(_Record, frozen=True, omit_defaults=True):
    """A conversation: user and system alternate, the user begins, the system ends.

    Attributes:
        dialogue_id: id, unique within its split; any text.
        services: names of the services that it is about.
        turns: turns, an even number.
        date: day of the conversation, ISO, to which "tomorrow" is relative; `TODAY` if ``None``.
            SGD's own files do not have this field.
    """

    dialogue_id: str
    services: list[str]
    turns: list[UserTurn | SystemTurn]
    date: str | None = None


class Slot(_Record, frozen=True):
    """An attribute of a service."""

    name: str
    description: str
    is_categorical: bool
    possible_values: list[str]


class Intent(_Record, frozen=True):
    """Something a service can do; a tool of the agent.

    Attributes:
        is_transactional: whether a call changes something, such as a booking or a payment.
        optional_slots: default value by slot name; ``"dontcare"`` for no preference.
    """

    name: str
    description: str
    is_transactional: bool
    required_slots: list[str]
    optional_slots: dict[str, str]
    result_slots: list[str]


class Service(_Record, frozen=True):
    """An API of the corpus."""

    service_name: str
    description: str
    slots: list[Slot]
    intents: list[Intent]
