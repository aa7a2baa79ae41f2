"""The words of an agent: puts dialogue acts into a text, in one of several styles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from agent_gym_env.corpus.goals import turn_kind
from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.suggestions import unknown_name
from agent_gym_env.synthesis.surfaces import kind_of, usual_form
from agent_gym_env.synthesis.wording import YesNoClause
from agent_gym_env.types import Action, DialogueAct

Style = Literal["terse", "plain", "verbose", "descriptive"]
STYLES: tuple[Style, ...] = get_args(Style)

Wording = Callable[[Sequence[DialogueAct], Mapping[str, Slot], str, int], str]
"""Puts acts into words. Arguments: the acts; the slots of the tool under way, by name; the intent
under way; the number of rows that its last query found."""

_SHOWN = 4
"""Number of values that an offer says beside the name of the row."""

_OPENING = "Hello! How can I help you?"
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_BOOLEANS = ("True", "False")
_NO_NOUNS = ("how", "what", "when", "where", "whether", "which", "who", "boolean")
"""First words of descriptions that do not begin with a noun."""

_OFFER: dict[Style, str] = {
    "terse": "{name}. {details}",
    "plain": "I found {found}. I'd suggest {name}. {details} What do you think?",
    "verbose": "Great news! I found {found} for you. How about {name}? {details} Does this sound "
    "good to you, or would you like to hear about another option?",
    "descriptive": "One option is {name}. {details} Would you like this one?",
}
_CONFIRM: dict[Style, str] = {
    "terse": "Please confirm: {details}.",
    "plain": "Please confirm the following details: {details}. Is that right?",
    "verbose": "Perfect! Before I go ahead and {deed}, let me double-check the details with you: "
    "{details}. Is everything correct, and shall I go ahead?",
    "descriptive": "I am going to {deed} with these details: {details}. Is that correct?",
}
_SUCCESS: dict[Style, str] = {
    "terse": "Done.",
    "plain": "Your request was successful.",
    "verbose": "Wonderful! Everything has been completed successfully and it is all set for you.",
    "descriptive": "I was able to {deed}, and it is confirmed.",
}
_COUNTER: dict[Style, str] = {
    "terse": "That failed. {details} instead?",
    "plain": "Sorry, that was not possible. Would {details} work for you instead?",
    "verbose": "I'm so sorry, but unfortunately I wasn't able to complete that request. However, "
    "{details} is available. Would you like me to book that instead?",
    "descriptive": "I was not able to {deed}. I could try it with {details}. Is that acceptable?",
}
_FAILURE: dict[Style, str] = {
    "terse": "That failed.",
    "plain": "Sorry, I was unable to do that.",
    "verbose": "I'm really sorry, but unfortunately I couldn't complete that for you.",
    "descriptive": "I was not able to {deed}.",
}
_PROPOSAL: dict[Style, str] = {
    "terse": "Shall I {deed}?",
    "plain": "Would you like me to {deed}?",
    "verbose": "Would you also like me to go ahead and {deed} for you?",
    "descriptive": "I can also {deed}. Do you want me to?",
}
_MORE: dict[Style, str] = {
    "terse": "Anything else?",
    "plain": "Is there anything else I can help you with?",
    "verbose": "Is there anything else I can assist you with today?",
    "descriptive": "What else can I do for you?",
}
_GOODBYE: dict[Style, str] = {
    "terse": "Goodbye.",
    "plain": "Have a great day!",
    "verbose": "You're very welcome! It was a pleasure helping you. Have a wonderful day!",
    "descriptive": "Goodbye, and enjoy the rest of your day.",
}


class Speaker:
    """Turns acts into actions, and repeats the last ones in other words.

    Args:
        wording: name of a style, or a function that puts acts into words.

    Raises:
        ValueError: the style is unknown.
    """

    def __init__(self, wording: str | Wording = "plain") -> None:
        if isinstance(wording, str) and wording not in STYLES:
            raise ValueError(unknown_name("wording", wording, STYLES))
        self._wordings = _in_turn(wording) if isinstance(wording, str) else [wording]
        self._repeated = 0
        self._last: tuple[Sequence[DialogueAct], Mapping[str, Slot], str, int] = ((), {}, "", 0)

    def say(
        self, acts: Sequence[DialogueAct], slots: Mapping[str, Slot], intent: str, found: int
    ) -> Action:
        """Return an action that says acts; the arguments are those of a `Wording`."""
        self._last, self._repeated = (acts, slots, intent, found), 0
        return self._action()

    def say_again(self) -> Action:
        """Return an action that says the last acts in the next style.

        A function that words the acts is called once more with the same arguments.
        """
        self._repeated += 1
        return self._action()

    def _action(self) -> Action:
        wording = self._wordings[self._repeated % len(self._wordings)]
        return Action(wording(*self._last), acts=tuple(self._last[0]))


def _in_turn(style: str) -> list[Wording]:
    first = next(place for place, each in enumerate(STYLES) if each == style)
    return [_styled(each) for each in STYLES[first:] + STYLES[:first]]


def _styled(style: Style) -> Wording:
    def wording(
        acts: Sequence[DialogueAct], slots: Mapping[str, Slot], intent: str, found: int
    ) -> str:
        return agent_words(acts, slots, style=style, intent=intent, found=found)

    return wording


def agent_words(
    acts: Sequence[DialogueAct],
    slots: Mapping[str, Slot],
    *,
    style: Style = "plain",
    intent: str = "",
    found: int = 1,
) -> str:
    """Put an agent's acts into words.

    Args:
        acts: acts of one turn.
        slots: slots of the tool under way, by name; a slot without an entry is named by its words.
        style: ``terse``, ``plain``, ``verbose`` or ``descriptive``.
        intent: intent under way, such as ``ReserveRestaurant``.
        found: number of rows that the last query found.
    """
    return _Turn(acts, slots, style, intent, found).text()


def offered_values(row: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the values with which an agent offers a row: its name, then a few others.

    There are more of them if these do not tell the row from the others.

    Args:
        row: the row that is offered.
        rows: all rows of the result.
    """
    named = [slot for slot in row if _is_name(slot)]
    others = [slot for slot in row if slot not in named and row[slot] not in _BOOLEANS]
    slots = named + others[:_SHOWN]
    for slot in [*others[_SHOWN:], *(slot for slot in row if row[slot] in _BOOLEANS)]:
        if not any(_agrees(other, row, slots) for other in rows if other != row):
            break
        slots.append(slot)
    return {slot: row[slot] for slot in slots}


def _agrees(row: Mapping[str, str], other: Mapping[str, str], slots: Sequence[str]) -> bool:
    return all(row.get(slot) == other.get(slot) for slot in slots)


def _is_name(slot: str) -> bool:
    return bool({"name", "title"} & set(slot.split("_")))


class _Turn:
    """One turn of the agent."""

    def __init__(
        self,
        acts: Sequence[DialogueAct],
        slots: Mapping[str, Slot],
        style: Style,
        intent: str,
        found: int,
    ) -> None:
        self._acts = acts
        self._slots = slots
        self._style: Style = style
        self._deed = _deed(intent)
        self._found = f"{found} result{'' if found == 1 else 's'}"

    def text(self) -> str:
        kind = turn_kind({act.act for act in self._acts})
        told = self._values("INFORM")
        sentences = [self._main(kind), *(self._sentence(*each) for each in told.items())]
        if kind != "more" and any(act.act == "REQ_MORE" for act in self._acts):
            sentences.append(_MORE[self._style])
        return " ".join(filter(None, sentences))

    def _main(self, kind: str) -> str:
        style = self._style
        lines = {
            "success": _SUCCESS,
            "failure": _FAILURE,
            "more": _MORE,
            "goodbye": _GOODBYE,
        }
        if kind == "request":
            return self._requests()
        if kind == "offer":
            return self._offer()
        if kind == "confirm":
            details = ", ".join(self._detail(*each) for each in self._values("CONFIRM").items())
            return _CONFIRM[style].format(details=details, deed=self._deed)
        if kind == "counter":
            changed = ", ".join(self._changed(*each) for each in self._values("OFFER").items())
            return _COUNTER[style].format(details=changed, deed=self._deed)
        if kind == "propose":
            deeds = [_deed(act.value) for act in self._acts if act.act == "OFFER_INTENT"]
            return _PROPOSAL[style].format(deed=" and ".join(deeds))
        if kind in lines:
            return lines[kind][style].format(deed=self._deed)
        return "" if kind == "inform" else _OPENING

    def _values(self, kind: str) -> dict[str, str]:
        return {act.slot: act.value for act in self._acts if act.act == kind}

    def _requests(self) -> str:
        asked = [act for act in self._acts if act.act == "REQUEST"]
        open_slots = [a.slot for a in asked if not a.value and not self._is_boolean(a.slot)]
        questions = [self._open_question(slots) for slots in self._grouped(open_slots)]
        questions += [self._closed_question(act) for act in asked if act.slot not in open_slots]
        return " ".join(questions)

    def _grouped(self, slots: Sequence[str]) -> list[list[str]]:
        """Return the slots of each question: one, or all of them in the longer styles."""
        if self._style in ("verbose", "descriptive"):
            return [list(slots)] if slots else []
        return [[slot] for slot in slots]

    def _open_question(self, slots: Sequence[str]) -> str:
        names = " and ".join(f"the {self._label(slot)}" for slot in slots)
        if self._style == "verbose":
            return f"Sure, I'd be happy to help! Could you please tell me {names}?"
        if self._style == "descriptive":
            described = " and ".join(self._description(slot) for slot in slots)
            return f"Could you tell me {described}?"
        if self._style == "terse":
            return f"What is {names}?"
        return f"What {self._label(slots[0])} would you like?"

    def _closed_question(self, act: DialogueAct) -> str:
        if self._is_boolean(act.slot):
            return _sentence(YesNoClause.of(act.slot, self._label(act.slot)).wish_question(), "?")
        return f"Should the {self._label(act.slot)} be {usual_form(act.value, act.slot)}?"

    def _offer(self) -> str:
        values = self._values("OFFER")
        text = [slot for slot in values if kind_of(slot, [values[slot]]) == "text"]
        named = [slot for slot in values if _is_name(slot)] or (text or list(values))[:1]
        name = ", ".join(usual_form(values[slot], slot) for slot in named)
        rest = {slot: value for slot, value in values.items() if slot not in named}
        if self._style == "terse":
            details = _sentence(", ".join(self._detail(*each) for each in rest.items()))
        else:
            details = " ".join(self._sentence(*each) for each in rest.items())
        offer = _OFFER[self._style].format(name=name, details=details, found=self._found)
        return offer.replace("  ", " ").strip()

    def _detail(self, slot: str, value: str) -> str:
        if value in _BOOLEANS:
            return f"{self._label(slot)}: {'yes' if value == 'True' else 'no'}"
        return f"{self._label(slot)}: {usual_form(value, slot)}"

    def _changed(self, slot: str, value: str) -> str:
        if value in _BOOLEANS:
            return self._detail(slot, value)
        return f"{usual_form(value, slot)} as the {self._label(slot)}"

    def _sentence(self, slot: str, value: str) -> str:
        label = self._label(slot)
        if value in _BOOLEANS:
            return _sentence(YesNoClause.of(slot, label).statement(value == "True"))
        if self._style == "terse":
            return _sentence(f"{label}: {usual_form(value, slot)}")
        what = self._description(slot) if self._style == "descriptive" else f"the {label}"
        return _sentence(f"{what} is {usual_form(value, slot)}")

    def _is_boolean(self, slot: str) -> bool:
        described = self._slots.get(slot)
        return described is not None and set(described.possible_values) == set(_BOOLEANS)

    def _label(self, slot: str) -> str:
        return " ".join(_CAMEL.findall(slot)).lower()

    def _description(self, slot: str) -> str:
        """Return the schema's description as a noun phrase, or else the words of the name."""
        described = self._slots.get(slot)
        text = described.description.rstrip(". ") if described is not None else ""
        first, _, rest = text.partition(" ")
        if first in ("The", "A", "An"):
            first, _, rest = rest.partition(" ")
        if not rest or first.lower() in _NO_NOUNS:
            return f"the {self._label(slot)}"
        return f"the {first[0].lower()}{first[1:]} {rest}"


def _deed(intent: str) -> str:
    return " ".join(_CAMEL.findall(intent)).lower() or "do that"


def _sentence(clause: str, end: str = ".") -> str:
    return f"{clause[0].upper()}{clause[1:]}{end}" if clause else ""
