"""The turns of a dialogue in SGD's format, with the state of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from agent_gym_env.corpus.sgd import (
    Act,
    Dialogue,
    DialogueAction,
    DialogueState,
    ServiceCall,
    SlotSpan,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)
from agent_gym_env.synthesis import system_language, user_language
from agent_gym_env.synthesis.moves import Move, Part
from agent_gym_env.synthesis.service_model import Row, ServiceModel
from agent_gym_env.synthesis.templates import Mention, spell

NO_INTENT = "NONE"
_ADOPTING: dict[Act, tuple[Act, ...]] = {
    "SELECT": ("OFFER",),
    "AFFIRM": ("CONFIRM", "OFFER", "REQUEST"),
    "NEGATE": ("CONFIRM",),
}
"""By act of the user: acts of the system whose values it adds to the state."""


class Carried(NamedTuple):
    """A value that the user takes over from another service, with its spoken forms there."""

    canonical: str
    spoken: list[str]


class KnownValues:
    """The values of one service that were said so far.

    Attributes:
        values: canonical values by slot.
        spoken: spoken forms of each slot's value.
        heard: last words of the system by its act, slot and canonical value.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.spoken: dict[str, list[str]] = {}
        self.heard: dict[Act, dict[tuple[str, str], str]] = {}

    def record(self, slot: str, canonical: str, words: str) -> None:
        """Record a value that was said."""
        if self.values.get(slot) != canonical:
            self.spoken[slot] = []
        self.values[slot] = canonical
        if words not in self.spoken[slot]:
            self.spoken[slot] = sorted([*self.spoken[slot], words])


class Transcript:
    """A dialogue that is being written, in which user and system alternate.

    The acts of the user are collected until the system speaks, so that the end of one subject and
    the beginning of the next share a turn.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._turns: list[UserTurn | SystemTurn] = []
        self._pending: list[Part] = []
        self._heard: Part | None = None
        self._acts_heard: frozenset[Act] = frozenset()
        self._known_values: dict[str, KnownValues] = {}

    @property
    def awaits_system(self) -> bool:
        """True if the system has not answered the user's last acts."""
        return bool(self._pending)

    def known_values(self, model: ServiceModel) -> KnownValues:
        """Return the values of a service."""
        return self._known_values.setdefault(model.name, KnownValues())

    def user(
        self,
        model: ServiceModel,
        intent: str,
        *moves: Move,
        carried: Mapping[str, Carried] | None = None,
    ) -> None:
        """Add acts of the user to the turn that waits for an answer."""
        carried = carried or {}
        known = self.known_values(model)
        for slot, value in carried.items():
            for words in value.spoken:
                known.record(slot, value.canonical, words)
        if self._pending and self._pending[-1].model is model:
            before = self._pending.pop()
            moves = (*before.moves, *moves)
        self._pending.append(Part(model, intent, list(moves), tuple(carried)))

    def system(
        self,
        model: ServiceModel,
        intent: str,
        *moves: Move,
        call: Mapping[str, str] | None = None,
        results: Sequence[Row] | None = None,
    ) -> None:
        """Write a turn of the system, with a call of the intent if ``call`` is not ``None``."""
        self._write_user_turn()
        part = Part(model, intent, list(moves))
        said = system_language.speak(part, self._acts_heard, self._rng)
        utterance, mentions = spell(said)
        words = _words(part, utterance, mentions)
        self.known_values(model).heard.update(_words_by_act(part, words))
        service_call = None if call is None else ServiceCall(intent, dict(call))
        rows = None if results is None else list(results)
        actions = _actions(part, words)
        frame = SystemFrame(model.name, actions, _spans(part, mentions), service_call, rows)
        self._turns.append(SystemTurn(utterance, [frame]))
        self._heard = part

    def settled(self, model: ServiceModel) -> dict[str, str]:
        """End the user's turn, and return the values so far, canonical or ``dontcare``."""
        self._write_user_turn()
        return dict(self.known_values(model).values)

    def dialogue(self, dialogue_id: str) -> Dialogue:
        """Return the dialogue that was written so far."""
        services = [frame.service for turn in self._turns for frame in turn.frames]
        return Dialogue(dialogue_id, list(dict.fromkeys(services)), self._turns)

    def _write_user_turn(self) -> None:
        if not self._pending:
            return
        parts, self._pending = self._pending, []
        self._acts_heard = frozenset(act for part in parts for act in part.acts)
        utterance, mentions = spell(user_language.speak(parts, self._heard, self._rng))
        frames = [self._user_frame(part, utterance, mentions) for part in parts]
        self._turns.append(UserTurn(utterance, frames))

    def _user_frame(self, part: Part, utterance: str, mentions: Sequence[Mention]) -> UserFrame:
        actions = _actions(part, _words(part, utterance, mentions))
        self._update(part, actions)
        spoken = self.known_values(part.model).spoken
        state = DialogueState(
            part.intent,
            sorted(part.slots("REQUEST")),
            {slot: list(spoken[slot]) for slot in sorted(spoken)},
        )
        return UserFrame(part.model.name, actions, _spans(part, mentions), state)

    def _update(self, part: Part, actions: Sequence[DialogueAction]) -> None:
        known = self.known_values(part.model)
        for act in part.acts & _ADOPTING.keys():
            for (slot, canonical), words in self._adopted(part, act).items():
                if part.model.is_parameter(slot):
                    known.record(slot, canonical, words)
        for action in actions:
            if action.act == "INFORM":
                known.record(action.slot, action.canonical_values[0], action.values[0])

    def _adopted(self, part: Part, act: Act) -> dict[tuple[str, str], str]:
        """Return the values that an act adopts: of any offer, and of other acts just before it."""
        recent = self._heard.acts if self._heard else frozenset[Act]()
        adopted: dict[tuple[str, str], str] = {}
        for said_with in _ADOPTING[act]:
            if act == "SELECT" or said_with in recent:
                adopted.update(self.known_values(part.model).heard.get(said_with, {}))
        return adopted


_Words = dict[tuple[str, str], str]
"""Words of an utterance by slot and canonical value."""


def _words(part: Part, utterance: str, mentions: Sequence[Mention]) -> _Words:
    return {
        (it.slot, it.canonical): utterance[it.start : it.end]
        for it in mentions
        if it.service == part.model.name and not part.model.is_categorical(it.slot)
    }


def _words_by_act(part: Part, words: _Words) -> dict[Act, _Words]:
    by_act: dict[Act, _Words] = {}
    for move in part.moves:
        for it in move.values:
            key = (move.slot, it)
            by_act.setdefault(move.act, {})[key] = words.get(key, it)
    return by_act


def _actions(part: Part, words: _Words) -> list[DialogueAction]:
    return [
        DialogueAction(
            move.act,
            move.slot,
            [words.get((move.slot, it), it) for it in move.values],
            list(move.values),
        )
        for move in part.moves
    ]


def _spans(part: Part, mentions: Sequence[Mention]) -> list[SlotSpan]:
    """Return the places of values of non-categorical slots, the only ones that SGD marks."""
    return [
        SlotSpan(it.slot, it.start, it.end)
        for it in mentions
        if it.service == part.model.name and not part.model.is_categorical(it.slot)
    ]
