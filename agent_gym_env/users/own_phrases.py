"""Our own phrases for the acts of a user, for any service with a schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import get_args

from agent_gym_env.corpus.goals import Kind, UserAct
from agent_gym_env.corpus.sgd import Act, Service, Slot
from agent_gym_env.synthesis.entities import ServiceEntry, SlotEntry, Wordings
from agent_gym_env.synthesis.moves import Move, Part
from agent_gym_env.synthesis.service_model import ServiceModel
from agent_gym_env.synthesis.surfaces import usual_form
from agent_gym_env.synthesis.templates import choose, spell
from agent_gym_env.synthesis.user_language import STOCK_ACTS, has_stock, speak
from agent_gym_env.users.mentions import SILENT, Mentions
from agent_gym_env.values.equality import DONTCARE

_DRAWS = 3
"""Number of wordings that are tried for one that says all values so that they can be read."""

_ALONE = {
    "UNCLEAR": ["Sorry, I don't follow.", "Sorry, I don't understand.", "Sorry, what do you mean?"],
    "GOODBYE": ["[Goodbye|Bye|Bye for now][.|!]"],
}
_PLAIN = {
    "NEGATE": "No.",
    "AFFIRM": "Yes, please.",
    "AFFIRM_INTENT": "Yes, please do that.",
    "NEGATE_INTENT": "No, not that.",
    "SELECT": "That one sounds good.",
    "REQUEST_ALTS": "Do you have another one?",
    "THANK_YOU": "Thank you.",
}
_ORDER = (
    "UNCLEAR", "NEGATE", "NEGATE_INTENT", "AFFIRM", "AFFIRM_INTENT", "SELECT", "REQUEST_ALTS",
    "INFORM_INTENT", "INFORM", "REQUEST", "THANK_YOU", "GOODBYE",
)  # fmt: skip
_FRAGMENTS = {
    "date": "on {}", "day": "on {}", "time": "at {}", "city": "in {}", "location": "in {}",
    "area": "in {}", "origin": "from {}", "destination": "to {}", "from": "from {}", "to": "to {}",
    "from location": "from {}", "to location": "to {}", "from city": "from {}",
    "to city": "to {}", "from station": "from {}", "to station": "to {}",
    "origin city": "from {}", "destination city": "to {}", "party size": "for {} people",
    "passengers": "for {} people", "travelers": "for {} people", "recipient": "for {}",
}  # fmt: skip
_ACTS = frozenset(get_args(Act))
_HEARD: dict[str, Act] = {"confirm": "CONFIRM", "counter": "NOTIFY_FAILURE", "offer": "OFFER"}


class OwnPhrases:
    """Puts acts into words by the schemas of the services.

    Args:
        services: schemas of the services.
    """

    def __init__(self, services: Iterable[Service]) -> None:
        self._services = {service.service_name: service for service in services}
        self._models: dict[str, ServiceModel] = {}

    def words(self, acts: Sequence[UserAct], after: Kind, today: str | None, draw: int) -> str:
        """Put acts into words.

        Args:
            acts: acts of the user, at least one.
            after: kind of the agent's turn that they answer.
            today: the day of the dialogue, ISO.
            draw: picks among the wordings.
        """
        kinds = {act.act for act in acts}
        if len(kinds) == 1 and acts[0].act in _ALONE:
            return choose(Random(draw).choice(_ALONE[acts[0].act]), Random(draw))
        parts = self._parts(acts)
        if parts is None:
            return _plain_words(acts, today)
        for number in range(_DRAWS):
            text, _ = spell(
                speak(parts, self._heard(acts[0].service, after), Random(draw + number))
            )
            if _says_all(text, acts, today):
                return text
        return _plain_words(acts, today)

    def _parts(self, acts: Sequence[UserAct]) -> list[Part] | None:
        """Return the acts by service; ``None`` where a schema does not have what they are about."""
        parts: list[Part] = []
        for service in dict.fromkeys(act.service for act in acts):
            own = [act for act in acts if act.service == service]
            if not self._knows(service, own):
                return None
            parts += self._parts_of(self._model(service), own)
        return parts

    def _parts_of(self, model: ServiceModel, acts: Sequence[UserAct]) -> list[Part]:
        intent = next((act.value for act in acts if act.act == "INFORM_INTENT"), "NONE")
        moves = [_move(model, act) for act in acts]
        whole = Part(model, intent, moves)
        if has_stock(whole):
            return [whole]
        single = [Part(model, intent, [move]) for move in moves if move.act in STOCK_ACTS]
        rest = [move for move in moves if move.act not in STOCK_ACTS]
        closing = [part for part in single if part.acts & {"THANK_YOU", "GOODBYE"}]
        opening = [part for part in single if part not in closing]
        return [*opening, *([Part(model, intent, rest)] if rest else []), *closing]

    def _knows(self, service: str, acts: Iterable[UserAct]) -> bool:
        schema = self._services.get(service)
        if schema is None:
            return False
        slots = {slot.name for slot in schema.slots}
        intents = {intent.name for intent in schema.intents}
        return all(
            act.act in _ACTS
            and (act.act != "INFORM_INTENT" or act.value in intents)
            and (act.act not in ("INFORM", "REQUEST") or act.slot in slots)
            for act in acts
        )

    def _heard(self, service: str, after: Kind) -> Part | None:
        if service not in self._services:
            return None
        act = _HEARD.get(after)
        return Part(self._model(service), "NONE", [] if act is None else [Move(act)])

    def _model(self, service: str) -> ServiceModel:
        if service not in self._models:
            schema = self._services[service]
            slots = {slot.name: SlotEntry(inform=_fragments(slot)) for slot in schema.slots}
            self._models[service] = ServiceModel(schema, ServiceEntry(slots=slots))
        return self._models[service]


def _fragments(slot: Slot) -> Wordings:
    """Return words that add a value to a request; several dates are told apart by their slots."""
    if set(slot.possible_values) >= {"True", "False"}:
        return []
    name = slot.name.replace("_", " ")
    counted = re.fullmatch(r"number of (\w+)s", name)
    if counted:
        return {"1": [f"with {{}} {counted[1]}"], "*": [f"with {{}} {counted[1]}s"]}
    return (
        [_FRAGMENTS[name]] if name in _FRAGMENTS else [f"with {name} {{}}", f"with the {name} {{}}"]
    )


def _move(model: ServiceModel, act: UserAct) -> Move:
    values = (act.value,) if act.value else ()
    if act.act == "INFORM" and act.value != DONTCARE and model.kind(act.slot) == "text":
        values = (spoken(act.value),)
    return Move(act.act, act.slot, values)  # type: ignore[arg-type]


def _says_all(text: str, acts: Iterable[UserAct], today: str | None) -> bool:
    mentions = Mentions(text, today)
    return all(mentions.has(act.value) for act in acts if act.act in ("INFORM", "SELECT"))


def _plain_words(acts: Iterable[UserAct], today: str | None) -> str:
    ordered = sorted(acts, key=lambda act: _ORDER.index(act.act) if act.act in _ORDER else 0)
    return " ".join(_plain_sentence(act, today) for act in ordered)


def _plain_sentence(act: UserAct, today: str | None) -> str:
    slot = act.slot.replace("_", " ")
    if act.act == "INFORM":
        if act.value == DONTCARE:
            return f"I have no preference for the {slot}."
        said = spoken(act.value)
        return (
            f"The {slot} should be {said if Mentions(said, today).has(act.value) else act.value}."
        )
    if act.act == "INFORM_INTENT":
        return f"I want to {_intent_words(act.value)}."
    if act.act == "REQUEST":
        return f"What is the {slot}?"
    if act.act == "SELECT" and act.value not in SILENT:
        return f"I'll take {act.value}."
    return _PLAIN.get(act.act, "Goodbye.")


def _intent_words(intent: str) -> str:
    return " ".join(word.lower() for word in re.findall(r"[A-Z]?[^A-Z]+|[A-Z]+", intent))


def spoken(value: str) -> str:
    """Return the usual spoken form of a canonical value, such as 5:15 pm for ``17:15``."""
    return {"True": "yes", "False": "no"}.get(value) or usual_form(value)
