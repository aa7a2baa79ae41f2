"""The values that a user says, beyond those that the tracker of retrieval is sure of."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tool_schemas import SlotSchema
from agent_gym_env.retrieval.understanding import value_in_slot
from agent_gym_env.retrieval.user_acts import named_slots
from agent_gym_env.retrieval.vocabulary import kind_of_value
from agent_gym_env.values.patterns import find_values, read_value

Place = tuple[str, str]
"""Service and slot."""

_LIKELY = 0.02
"""Lowest probability of a value that the agent did not ask for."""

_FILLERS = frozenset(
    (
        *("actually", "ah", "alright", "anything", "great", "hello", "hey", "hi", "hmm", "let"),
        *("make", "maybe", "no", "nope", "not", "oh", "okay", "one", "perfect", "please", "sorry"),
        *("sure", "thanks", "there", "wait", "well", "would", "yeah", "yep", "yes"),
    )
)
"""Words that may begin a sentence with a capital although they are not a name."""

_BEFORE = "(?:in|at|on|for|from|to|by|with)"
_IS = r"(?:should be|must be|will be|is|to be|to)"
_BEGINNING = re.compile(
    r"^(?:(?:okay|ok|oh|well|sure|ah|yes|yeah|hmm|let me see|i think|i'm thinking|i would like"
    r"|i'd like|i want|it's|it is|it should be|make it|please|let's say|how about|try|maybe)\b[, ]*"
    r"|(?:to|for|in|at|on|by|with|from|of|the|called|named|titled)\b )+",
    re.IGNORECASE,
)
_END = re.compile(
    r"(?:[,.]? ?\b(?:please|instead|thanks|thank you|if you can|if possible|if that's possible"
    r"|would be (?:good|great|fine|nice|perfect|best)|is (?:good|great|fine)))+[.!?]*$",
    re.IGNORECASE,
)


_WISHES = {"should": "True", "not": "False"}


class _Stated(NamedTuple):
    value: str
    words: str


def said_values(
    state: State, asked_for: Collection[str], *, informs: bool, corrects: bool = False
) -> dict[Place, str]:
    """Return the values that the user's last words say.

    Args:
        state: state of the conversation.
        asked_for: slots that the agent has just asked for.
        informs: whether the user says a value at all, as far as is known.
        corrects: whether it is in place of a value that was to be confirmed.
    """
    service, slots = state.service, state.tools.slots.get(state.service, {})
    stated = _stated(state, slots)
    filled = {(owner, slot): state.values[owner][slot] for owner, slot in state.filled}
    values = {
        (owner, slot): value.value
        for (owner, slot), value in filled.items()
        if not any(value.said in other.words for name, other in stated.items() if name != slot)
    }
    values |= {(service, slot): value.value for slot, value in stated.items()}
    values = {place: _without_date(state, value) for place, value in values.items()}
    if not informs:
        return values
    for slot in asked_for:
        if slot in slots and (service, slot) not in values:
            value = _answer(state, slots[slot], set(values.values()))
            if value is not None:
                values[service, slot] = value
    if not values:
        values.update(_likeliest(state, slots, 0.0 if corrects else _LIKELY))
    return values


def _stated(state: State, slots: Mapping[str, SlotSchema]) -> dict[str, _Stated]:
    """Return the value of each slot that the user calls by its name.

    So does "The party size should be two." for the slot ``party_size``.
    """
    stated: dict[str, _Stated] = {}
    for name, slot in slots.items():
        if slot.is_boolean:
            wish = _WISHES.get(_wish_about(state.user, name))
            if wish is not None:
                stated[name] = _Stated(wish, "")
        label = re.escape(name.replace("_", " "))
        match = re.search(
            rf"\b(?:the {label} {_IS}|with (?:the )?{label}) (.+)", state.user, re.IGNORECASE
        )
        if match is not None:
            words = _trim(state, match[1], slots)
            value = _value_in(state, slot, words)
            known = state.values.get(state.service, {}).get(name)
            is_filled = known is not None and (state.service, name) in state.filled
            if is_filled and known is not None and words in known.said:
                stated[name] = _Stated(known.value, known.said)
            elif value is not None:
                stated[name] = _Stated(value, words)
    return stated


def _wish_about(text: str, slot: str) -> str:
    """Return ``should`` or ``not`` where a clause wants or does not want what a slot names."""
    for clause in re.split(r"[.!?,;:]", text):
        wish = re.search(r"\b(?:(need not|should not|must not|shouldn't)|should|must)\b", clause)
        if wish is not None and named_slots(clause[wish.end() :], [slot]):
            return "not" if wish[1] else "should"
    return ""


def _trim(state: State, text: str, slots: Mapping[str, SlotSchema]) -> str:
    """Return the words of a value at the beginning of a text."""
    labels = "|".join(re.escape(name.replace("_", " ")) for name in slots)
    text = re.split(
        rf"[.!?](?: |$)|,? (?:and )?(?:with (?:the )?(?:{labels})|(?:there|it) (?:should|need)) ",
        text,
    )[0]
    for mention in state.mentions:
        text = re.sub(rf"(?<=\w) {_BEFORE} {re.escape(mention.text)}(?!\w).*", "", text)
    return _END.sub("", text).strip(" ,.!?")


def _value_in(state: State, slot: SlotSchema, words: str) -> str | None:
    if slot.is_boolean:
        return {"yes": "True", "no": "False"}.get(words.lower())
    for mention in state.mentions:
        if mention.text == words:
            value = value_in_slot(state, mention, slot)
            if value is not None:
                return value
    if slot.values:
        return next((value for value in slot.values if value.lower() == words.lower()), None)
    return read_value(words, state.today) or (words if slot.kind == "text" else None)


def _answer(state: State, slot: SlotSchema, taken: Collection[str]) -> str | None:
    """Return the value that the user most probably means for a slot that was asked for.

    Args:
        state: state of the conversation.
        slot: the slot.
        taken: values of other slots.
    """
    possible = [
        (score, value)
        for score, name, value in state.possible
        if name == slot.name and value not in taken and _fits(state, slot, value)
    ]
    likeliest = max(possible)[1] if possible else None
    if slot.values or slot.kind != "text":
        return likeliest
    rest = _rest_of_sentence(state)
    if likeliest is None or re.match(rf"{re.escape(likeliest)} [a-z]", rest):
        return rest or None  # the capital may be that of the sentence
    return _without_date(state, _BEGINNING.sub("", likeliest))


def _without_date(state: State, value: str) -> str:
    """Return a value without a date or a time that was said right after it."""
    ends = (found[0] for found in find_values(value, state.today) if found[2] in ("date", "time"))
    return value[: next(ends, 0)].rstrip() or value


def _rest_of_sentence(state: State) -> str:
    """Return the user's words without politeness around them, dates and times."""
    words = state.user
    for mention in state.mentions:
        if mention.kind in ("date", "time"):
            words = re.sub(rf" (?:{_BEFORE} )?{re.escape(mention.text)}", "", words)
    return _END.sub("", _BEGINNING.sub("", words)).strip(" ,.!?")


def _likeliest(state: State, slots: Mapping[str, SlotSchema], least: float) -> dict[Place, str]:
    """Return the likeliest of the values that the tracker was not sure of, if it is likelier."""
    possible = [
        (score, name, value)
        for score, name, value in state.possible
        if name in slots
        and not slots[name].is_boolean
        and score > least
        and _fits(state, slots[name], value)
    ]
    if not possible:
        return {}
    _, name, value = max(possible)
    return {(state.service, name): value}


def _fits(state: State, slot: SlotSchema, value: str) -> bool:
    if slot.values:
        return value in slot.values
    if slot.kind in ("date", "time", "number"):
        return kind_of_value(value, state.today) == slot.kind
    return value.lower() not in _FILLERS
