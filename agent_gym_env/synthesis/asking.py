"""The scene in which the user asks for an intent and the system for what it must know."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from agent_gym_env.synthesis.moves import Move, each, intent_move
from agent_gym_env.synthesis.service_model import ServiceModel
from agent_gym_env.synthesis.stage import Stage
from agent_gym_env.synthesis.transcript import Carried
from agent_gym_env.synthesis.wishes import Wishes

_FEW = 3
"""The question itself may list so many values: examples would repeat it."""


class Asking:
    """Brings the user's wishes for one intent into the dialogue."""

    def __init__(self, stage: Stage, model: ServiceModel, intent: str, wishes: Wishes) -> None:
        self._stage = stage
        self._model = model
        self._intent = intent
        self._wishes = wishes
        self._required = model.intent(intent).required_slots

    def open(self) -> None:
        """Let the user ask for the intent out of the blue."""
        untold = self._untold()
        carried = self._silently(untold)
        spoken = {slot: it for slot, it in untold.items() if slot not in carried}
        told = self._told_at_once(spoken, self._stage.habits.required_at_once)
        opening = intent_move("INFORM_INTENT", self._intent)
        self._user(opening, *each("INFORM", told), carried=carried)

    def take_up(self, search: str) -> None:
        """Let the user ask for the intent, or accept it, with the row chosen in a search."""
        given = self._model.row_gives(search, self._intent)
        opening = intent_move("INFORM_INTENT", self._intent)
        if self._stage.happens(self._stage.habits.proposal):
            proposal = intent_move("OFFER_INTENT", self._intent)
            self._stage.script.system(self._model, search, proposal)
            opening = Move("AFFIRM_INTENT")
        untold = {slot: it for slot, it in self._untold().items() if slot not in given}
        told = self._told_at_once(untold, self._stage.habits.details_at_once)
        self._user(opening, *each("INFORM", told))

    def complete(self) -> None:
        """Let the system ask until it knows all that the intent requires."""
        habits = self._stage.habits
        while missing := self._missing():
            asked = missing[: 2 if self._stage.happens(habits.two_requests) else 1]
            is_last = len(asked) == len(missing)
            if (
                len(asked) == 1
                and self._is_listed(asked[0])
                and self._stage.happens(habits.right_guess)
            ):
                self._guess(asked[0], is_last)
            else:
                requests = [self._request(slot, alone=len(asked) == 1) for slot in asked]
                self._stage.script.system(self._model, self._intent, *requests)
                self._user(*each("INFORM", self._answers(asked, is_last)))

    def _missing(self) -> list[str]:
        settled = self._stage.script.settled(self._model)
        return [slot for slot in self._required if slot not in settled]

    def _guess(self, slot: str, is_last: bool) -> None:
        guess = Move("REQUEST", slot, (self._wishes[slot],))
        self._stage.script.system(self._model, self._intent, guess)
        others = self._answers([], is_last)
        others.pop(slot, None)
        self._user(Move("AFFIRM"), *each("INFORM", others))

    def _answers(self, asked: Collection[str], is_last: bool) -> Wishes:
        """What was asked for; with the last answer also the wishes that nobody asks for."""
        untold = self._untold().items()
        return {s: it for s, it in untold if s in asked or (is_last and s not in self._required)}

    def _request(self, slot: str, alone: bool) -> Move:
        values = self._model.examples(slot)
        habit = self._stage.habits.examples
        if alone and self._is_listed(slot) and len(values) > _FEW and self._stage.happens(habit):
            return Move("REQUEST", slot, tuple(self._stage.rng.sample(values, 2)))
        return Move("REQUEST", slot)

    def _is_listed(self, slot: str) -> bool:
        return self._model.is_categorical(slot) and self._model.kind(slot) == "text"

    def _untold(self) -> Wishes:
        settled = self._stage.script.memory(self._model).values
        return {slot: it for slot, it in self._wishes.items() if settled.get(slot) != it}

    def _silently(self, untold: Wishes) -> dict[str, Carried]:
        habit = self._stage.habits.silent_carrying
        carried = self._stage.carried(self._model, self._intent).items()
        same = {slot: it for slot, it in carried if untold.get(slot) == it.canonical}
        return {slot: it for slot, it in same.items() if self._stage.happens(habit)}

    def _told_at_once(self, untold: Wishes, share: float) -> Wishes:
        """Draw what the user's first words say: all, unless the system will ask for the rest."""
        required = [slot for slot in untold if slot in self._required]
        told = {slot for slot in required if self._stage.happens(share)}
        nothing_to_ask = len(told) == len(required)
        if nothing_to_ask or self._stage.happens(self._stage.habits.optional_at_once):
            told |= untold.keys() - set(required)
        return {slot: it for slot, it in untold.items() if slot in told}

    def _user(self, *moves: Move, carried: Mapping[str, Carried] | None = None) -> None:
        self._stage.script.user(self._model, self._intent, *moves, carried=carried)
