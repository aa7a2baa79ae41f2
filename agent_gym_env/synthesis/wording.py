"""Words for the slots and intents of a service, from the entities file or made from names."""

from __future__ import annotations

import re
from collections.abc import Collection
from random import Random

from agent_gym_env.corpus.sgd import Intent, Service
from agent_gym_env.synthesis import templates
from agent_gym_env.synthesis.entities import (
    IntentEntry,
    ServiceEntry,
    SlotEntry,
    Wordings,
    slot_kind,
)
from agent_gym_env.synthesis.surfaces import Kind, Surface, formal, pick, spoken

_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_PLAIN = re.compile(r"[^\s\[\]{}|]+")
_LONGEST_VERB_PHRASE = 9
_VERBS = frozenset(
    (
        *("add", "book", "buy", "cancel", "change", "check", "find", "get", "hire", "list"),
        *("look", "make", "order", "pay", "play", "purchase", "rent", "request", "reserve"),
        *("schedule", "search", "see", "send", "set", "share", "show", "track", "transfer"),
        *("update", "view"),
    )
)
_INFORM_BY_KIND: dict[Kind, list[str]] = {"date": ["on {}"], "time": ["at {}"]}


class Wording:
    """Templates for the slots and intents of one service, with slots as placeholders."""

    def __init__(self, service: Service, entry: ServiceEntry) -> None:
        self._entry = entry
        self._kinds = {slot.name: slot_kind(slot, entry) for slot in service.slots}
        self._categorical = {slot.name for slot in service.slots if slot.is_categorical}
        self._intents = {intent.name: intent for intent in service.intents}

    def label(self, slot: str) -> str:
        """Return a noun phrase for a slot."""
        return self._slot(slot).label or " ".join(_CAMEL.findall(slot)).lower()

    def counted(self, intent: str, count: int) -> str:
        """Return the number and noun of the entities that an intent found."""
        entry = self._intent(intent) if self._intent(intent).noun else self._entry
        return f"{count} {entry.noun if count == 1 else entry.plural or f'{entry.noun}s'}"

    def has_fragment(self, slot: str, value: str) -> bool:
        """Return whether there is a fragment for a value."""
        return bool(self._fragments(slot, value))

    def fragment(self, slot: str, value: str, rng: Random) -> str:
        """Draw a fragment that adds a value to a request, such as "for {party_size} people"."""
        options = self._fragments(slot, value)
        return _named(templates.choose(rng.choice(options), rng), slot)

    def wish(self, slot: str, value: str) -> str:
        """Return a clause that asks for a value, for a slot without a fragment."""
        if self._kinds[slot] == "boolean":
            return YesNoClause.of(slot, self.label(slot)).wish(value == "True")
        return f"the {self.label(slot)} should be {{{slot}}}"

    def detail(self, slot: str, value: str) -> str:
        """Return a value for a list of values, for a slot without a fragment."""
        if self._kinds[slot] == "boolean":
            return f"{self.label(slot)}: {'yes' if value == 'True' else 'no'}"
        return f"{self.label(slot)} {{{slot}}}"

    def indifference(self, slot: str, rng: Random) -> str:
        """Draw a clause that says that the user has no preference."""
        options = ["I don't mind about the", "I have no preference for the", "it can be any"]
        what = self.label(slot)
        if self._kinds[slot] == "boolean":
            options = ["I don't mind whether", "it doesn't matter whether", "I don't care if"]
            what = self.statement(slot, "True", rng)
        return templates.choose(f"[{'|'.join(options)}] {what}", rng)

    def request(self, slot: str, rng: Random) -> str:
        """Draw a question of the system for a value."""
        label = self.label(slot)
        made = [f"What {label} would you like?", f"What {label} should I use?"]
        if self._kinds[slot] == "boolean":
            made = [f"{YesNoClause.of(slot, label).question()}?"]
        return templates.choose(rng.choice(self._slot(slot).request or made), rng)

    def question(self, slot: str, rng: Random) -> str:
        """Draw a question of the user for an attribute, without question mark."""
        label = self.label(slot)
        made = [f"what is the {label}", f"what's the {label}"]
        if self._kinds[slot] == "boolean":
            made = [YesNoClause.of(slot, label).question()]
        return templates.choose(rng.choice(self._slot(slot).ask or made), rng)

    def statement(self, slot: str, value: str, rng: Random) -> str:
        """Draw a clause of the system that says an attribute."""
        label = self.label(slot)
        made = [f"the {label} is {{}}"]
        if self._kinds[slot] == "boolean":
            made = [YesNoClause.of(slot, label).statement(value == "True")]
        options = _for_value(self._slot(slot).tell, value) or made
        return _named(templates.choose(rng.choice(options), rng), slot)

    def again(self, slot: str, rng: Random) -> str | None:
        """Draw words for a value that carries over from another service, if there are any."""
        options = self._slot(slot).again
        return templates.choose(rng.choice(options), rng) if options else None

    def deed(self, intent: str, rng: Random) -> str:
        """Draw a verb phrase for an intent that fits after "I'd like to"."""
        options = self._intent(intent).do or [_verb_phrase(self._intents[intent])]
        return templates.choose(rng.choice(options), rng)

    def opening(self, intent: str, rng: Random) -> str | None:
        """Draw a whole sentence that asks for an intent, if there is one."""
        return _drawn(self._intent(intent).open, rng)

    def offered_slots(self, intent: str, needed: Collection[str], rng: Random) -> list[str]:
        """Draw the slots that present a row: those of a sentence, or the needed ones."""
        offers = [templates.slots(text) for text in self._intent(intent).offer]
        fitting = [slots for slots in offers if slots.issuperset(needed)]
        drawn = rng.choice(fitting) if fitting else set(needed) or self._telling(intent)
        return [slot for slot in self._kinds if slot in drawn]

    def offer(self, intent: str, slots: Collection[str], rng: Random) -> str | None:
        """Draw a sentence that presents a row with exactly these slots, if there is one."""
        options = self._intent(intent).offer
        return _drawn([text for text in options if templates.slots(text) == set(slots)], rng)

    def choice(self, intent: str, rng: Random) -> str | None:
        """Draw a sentence of the user that takes a row, if there is one."""
        return _drawn(self._intent(intent).select, rng)

    def proposal(self, intent: str, rng: Random) -> str | None:
        """Draw a question that proposes an intent, if there is one."""
        return _drawn(self._intent(intent).offer_intent, rng)

    def success(self, intent: str, rng: Random) -> str | None:
        """Draw a sentence that reports a success, if there is one."""
        return _drawn(self._intent(intent).success, rng)

    def failure(self, intent: str, rng: Random) -> str | None:
        """Draw a sentence that reports a failure, if there is one."""
        return _drawn(self._intent(intent).failure, rng)

    def said_by_user(self, slot: str, value: str, rng: Random) -> Surface:
        """Draw a way in which the user says a value."""
        others = [Surface(alias) for alias in self._slot(slot).spoken.get(value, [])]
        return pick(spoken(self._kinds[slot], value) + others, rng)

    def said_by_system(self, slot: str, value: str, rng: Random) -> Surface:
        """Draw a way in which the system says a value."""
        return pick(formal(self._kinds[slot], value), rng)

    def _fragments(self, slot: str, value: str) -> list[str]:
        stated = _for_value(self._slot(slot).inform, value)
        return stated or _INFORM_BY_KIND.get(self._kinds[slot], [])

    def _telling(self, intent: str) -> set[str]:
        """Return the slot that names an entity, or else the first slots new to the user."""
        signature = self._intents[intent]
        if self._entry.name_slot in signature.result_slots:
            return {self._entry.name_slot}
        known = {*signature.required_slots, *signature.optional_slots}
        new = [slot for slot in signature.result_slots if slot not in known]
        return set((new or signature.result_slots)[:2])

    def _slot(self, slot: str) -> SlotEntry:
        return self._entry.slots.get(slot) or SlotEntry()

    def _intent(self, intent: str) -> IntentEntry:
        return self._entry.intents.get(intent) or IntentEntry()


class YesNoClause:
    """Clauses about a yes-or-no slot, made from its name (``has_garden``, ``pets_allowed``)."""

    def __init__(self, subject: str, verb: str, rest: str) -> None:
        self._subject, self._verb, self._rest = subject, verb, rest

    @classmethod
    def of(cls, slot: str, label: str) -> YesNoClause:
        """Read the parts of the clauses from a slot's name; ``label`` is its noun phrase."""
        first, _, rest = slot.replace("_", " ").partition(" ")
        if first in ("is", "has") and rest:
            return cls("it", first, rest)
        before, _, last = slot.replace("_", " ").rpartition(" ")
        if before and last in ("allowed", "available", "included", "accepted", "provided"):
            return cls(before, "are" if before.endswith("s") else "is", last)
        if first.endswith("s") and rest:
            return cls("it", first, rest)
        return cls("there", "is", label)

    def question(self) -> str:
        """Return a question whether it holds, without question mark."""
        if self._verb in ("is", "are"):
            return f"{self._verb} {self._subject} {self._rest}"
        return f"does {self._subject} {self._plain_verb()} {self._rest}"

    def wish_question(self) -> str:
        """Return a question whether it is wanted, without question mark."""
        return f"should {self._subject} {self._plain_verb()} {self._rest}"

    def statement(self, holds: bool) -> str:
        """Return a clause that says whether it holds."""
        if holds:
            return f"{self._subject} {self._verb} {self._rest}"
        if self._verb in ("is", "are"):
            no = "no" if self._subject == "there" else "not"
            return f"{self._subject} {self._verb} {no} {self._rest}"
        return f"{self._subject} does not {self._plain_verb()} {self._rest}"

    def wish(self, holds: bool) -> str:
        """Return a clause that says whether it is wanted."""
        need = "should" if holds else "need not"
        return f"{self._subject} {need} {self._plain_verb()} {self._rest}"

    def _plain_verb(self) -> str:
        irregular = {"is": "be", "are": "be", "has": "have"}
        return irregular.get(self._verb, self._verb.removesuffix("s"))


def _for_value(wordings: Wordings, value: str) -> list[str]:
    if isinstance(wordings, dict):
        return wordings.get(value) or wordings.get("*", [])
    return wordings


def _named(wording: str, slot: str) -> str:
    return wording.replace("{}", f"{{{slot}}}")


def _drawn(options: list[str], rng: Random) -> str | None:
    return templates.choose(rng.choice(options), rng) if options else None


def _verb_phrase(intent: Intent) -> str:
    """Return the description if it is a verb phrase, or else the words of the name."""
    named = [word.lower() for word in _CAMEL.findall(intent.name)]
    described = _PLAIN.findall(intent.description.rstrip("."))
    verbs = {*_VERBS, *named[:1]}
    if described and described[0].lower() in verbs and len(described) <= _LONGEST_VERB_PHRASE:
        return " ".join([described[0].lower(), *described[1:]])
    return " ".join(named)
