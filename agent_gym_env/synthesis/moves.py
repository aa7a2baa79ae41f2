"""Dialogue acts before they have words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent_gym_env.corpus.sgd import Act
from agent_gym_env.synthesis.service_model import ServiceModel


class Move(NamedTuple):
    """An act with its slot and canonical values."""

    act: Act
    slot: str = ""
    values: tuple[str, ...] = ()


class Part(NamedTuple):
    """The acts of a speaker in one turn that are about one service.

    Attributes:
        model: service.
        intent: active intent, or ``"NONE"``.
        moves: acts.
        carried: slots whose values the user takes over from another service without saying them.
    """

    model: ServiceModel
    intent: str
    moves: list[Move]
    carried: tuple[str, ...] = ()

    @property
    def acts(self) -> frozenset[Act]:
        """Kinds of the acts."""
        return frozenset(move.act for move in self.moves)

    def values(self, act: Act) -> dict[str, str]:
        """Return the first canonical value by slot of the acts of one kind that have values."""
        return {m.slot: m.values[0] for m in self.moves if m.act == act and m.values}

    def slots(self, act: Act) -> list[str]:
        """Return the slots of the acts of one kind."""
        return [move.slot for move in self.moves if move.act == act]


def each(act: Act, values: Mapping[str, str]) -> list[Move]:
    """Return an act of a kind for each value."""
    return [Move(act, slot, (value,)) for slot, value in values.items()]


def about(act: Act, slots: Iterable[str]) -> list[Move]:
    """Return an act of a kind, without a value, for each slot."""
    return [Move(act, slot) for slot in slots]


def intent_move(act: Act, intent: str) -> Move:
    """Return an act about an intent."""
    return Move(act, "intent", (intent,))
