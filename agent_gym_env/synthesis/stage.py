"""What the scenes of one dialogue share: its transcript, its randomness, its speakers' habits."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from agent_gym_env.synthesis.habits import Habits
from agent_gym_env.synthesis.moves import about, each
from agent_gym_env.synthesis.service_model import Row, ServiceModel
from agent_gym_env.synthesis.transcript import Carried, Transcript
from agent_gym_env.values.equality import DONTCARE


class Stage:
    """The stage of one dialogue.

    Attributes:
        script: the turns so far.
        rng: draws everything.
        habits: how often what happens.
    """

    def __init__(self, rng: Random, habits: Habits) -> None:
        self.script = Transcript(rng)
        self.rng = rng
        self.habits = habits
        self._known: dict[str, Carried] = {}
        self._told: dict[str, set[str]] = {}

    def happens(self, share: float) -> bool:
        """Draw whether something happens."""
        return self.rng.random() < share

    def remember(self, model: ServiceModel) -> None:
        """Keep values of a service that others may take over."""
        memory = self.script.memory(model)
        for slot, value in memory.values.items():
            concept = model.concept(slot)
            if concept is not None and value != DONTCARE:
                self._known[concept] = Carried(value, memory.spoken[slot])

    def carried(self, model: ServiceModel, intent: str) -> dict[str, Carried]:
        """Values of other services that slots of an intent may take over."""
        known = {
            slot: self._known.get(model.concept(slot) or "") for slot in model.parameters(intent)
        }
        return {
            slot: value
            for slot, value in known.items()
            if value is not None and model.takes(slot, value.canonical)
        }

    def parameters(self, model: ServiceModel, intent: str) -> dict[str, str]:
        """What a call of an intent sends now: settled values, and a booking's concrete defaults."""
        settled = self.script.settled(model)
        signature = model.intent(intent)
        sent = {}
        for slot in model.parameters(intent):
            value = settled.get(slot)
            if value is None and signature.is_transactional:
                value = signature.optional_slots.get(slot)
            if value is not None and value != DONTCARE:
                sent[slot] = value
        return sent

    def show(self, model: ServiceModel, said: Collection[str]) -> None:
        """Note that the system presents another row, and the slots by which it does."""
        self._told[model.name] = set(said)

    def untold_attributes(self, model: ServiceModel, row: Row) -> list[str]:
        """Draw one or two attributes of a row that the user does not know, if there are any."""
        told = self._told.setdefault(model.name, set())
        known = told | self.script.settled(model).keys()
        slots = [slot for slot in row if slot not in known and model.is_unknown(slot)]
        wanted = 2 if self.happens(self.habits.second_question) else 1
        asked = self.rng.sample(slots, min(wanted, len(slots)))
        told.update(asked)
        return asked

    def question(self, model: ServiceModel, intent: str, row: Row) -> None:
        """Let the user ask for attributes of a row and the system tell them, if there are any."""
        if asked := self.untold_attributes(model, row):
            self.script.user(model, intent, *about("REQUEST", asked))
            self.script.system(model, intent, *each("INFORM", {slot: row[slot] for slot in asked}))
