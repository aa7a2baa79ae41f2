"""Utterances of the system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from agent_gym_env.corpus.sgd import Act
from agent_gym_env.synthesis import phrases
from agent_gym_env.synthesis.clauses import (
    deed,
    draw,
    fragments,
    listed,
    other_person,
    value,
)
from agent_gym_env.synthesis.moves import Part
from agent_gym_env.synthesis.templates import Phrase, fill, join, sentence


def speak(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    """Return the phrases of a turn of the system.

    Args:
        part: acts of the turn.
        heard: kinds of the user's acts before it.
        rng: generator that draws the wordings.
    """
    acts = part.acts
    said: list[Phrase] = []
    for act, words in _SPEAKERS.items():
        if act in acts:
            said += words(part, heard, rng)
    if "INFORM" in acts:
        leads = phrases.STATEMENTS_ON_THE_SIDE if said else phrases.STATEMENTS
        said.append(_statement(part, leads, rng))
    return said


def _requests(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    wording = part.model.wording
    moves = [move for move in part.moves if move.act == "REQUEST"]
    questions = [wording.request(move.slot, rng) for move in moves]
    first, *others = [question.rstrip("?") for question in questions]
    asked = ", and ".join([first, *(_uncapitalised(other) for other in others)]) + "?"
    said = [draw(phrases.REQUESTS, rng, [asked])]
    for move in moves:
        if move.values:
            options: list[Phrase] = [
                [value(part, move.slot, it, wording.said_by_system, rng)] for it in move.values
            ]
            leads = phrases.SUGGESTIONS if len(options) > 1 else phrases.GUESSES
            said.append(draw(leads, rng, listed(options, "or")))
    return said


def _offer(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    offered = part.values("OFFER")
    if "NOTIFY_FAILURE" in part.acts:
        return [draw(phrases.COUNTER_OFFERS, rng, join(_all_said(part, offered, rng)))]
    said = [_count(part, rng)] if "INFORM_COUNT" in part.acts else []
    leads = phrases.NEXT_OFFERS if heard == {"REQUEST_ALTS"} else phrases.OFFERS
    return [*said, sentence(draw(leads, rng, presentation(part, offered, rng)))]


def presentation(part: Part, offered: Mapping[str, str], rng: Random) -> Phrase:
    """Return a sentence with the offered values."""
    wording = part.model.wording
    values = {
        slot: value(part, slot, it, wording.said_by_system, rng) for slot, it in offered.items()
    }
    template = wording.offer(part.intent, set(offered), rng)
    if template is not None:
        return fill(template, values)
    clauses = [
        fill(wording.statement(slot, it, rng), {slot: values[slot]}) for slot, it in offered.items()
    ]
    return listed(clauses)


def _count(part: Part, rng: Random) -> Phrase:
    count = int(part.values("INFORM_COUNT")["count"])
    leads = phrases.COUNT_OF_ONE if count == 1 else phrases.COUNTS
    return draw(leads, rng, [part.model.wording.counted(part.intent, count)])


def _confirmation(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    deed_said: Phrase = [deed(part, part.intent, rng)]
    what = join([deed_said, *_all_said(part, part.values("CONFIRM"), rng)])
    return [sentence(draw(phrases.CONFIRMATIONS, rng, _in_other_person(what)))]


def _all_said(part: Part, values: Mapping[str, str], rng: Random) -> list[Phrase]:
    """Return fragments of the values, and a list of the values without one."""
    wording = part.model.wording
    said = fragments(part, values, wording.said_by_system, rng)
    details = [
        fill(wording.detail(slot, it), {slot: value(part, slot, it, wording.said_by_system, rng)})
        for slot, it in values.items()
        if not wording.has_fragment(slot, it)
    ]
    return [*said, ["with ", *listed(details)]] if details else said


def _statement(part: Part, leads: list[str], rng: Random) -> Phrase:
    wording = part.model.wording
    clauses = [
        fill(
            wording.statement(slot, it, rng),
            {slot: value(part, slot, it, wording.said_by_system, rng)},
        )
        for slot, it in part.values("INFORM").items()
    ]
    return draw(leads, rng, listed(clauses))


def _proposal(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    intent = part.values("OFFER_INTENT")["intent"]
    stated = part.model.wording.proposal(intent, rng)
    if stated is not None and rng.random() < 0.6:
        return [[stated]]
    return [draw(phrases.PROPOSALS, rng, [other_person(deed(part, intent, rng))])]


def _success(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    stated = part.model.wording.success(part.intent, rng)
    return [sentence([stated]) if stated is not None else draw(phrases.SUCCESSES, rng)]


def _failure(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    if heard == {"REQUEST_ALTS"}:
        return [draw(phrases.NOTHING_MORE_FOUND, rng)]
    stated = part.model.wording.failure(part.intent, rng)
    if stated is not None:
        return [sentence([stated])]
    if part.model.intent(part.intent).is_transactional:
        return [draw(phrases.FAILURES, rng, [other_person(deed(part, part.intent, rng))])]
    return [draw(phrases.NOTHING_FOUND, rng)]


def _more(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    return [draw(phrases.REQ_MORE, rng)]


def _goodbye(part: Part, heard: frozenset[Act], rng: Random) -> list[Phrase]:
    return [draw(phrases.GOODBYE, rng)]


def _in_other_person(phrase: Phrase) -> Phrase:
    return [other_person(it) if isinstance(it, str) else it for it in phrase]


def _uncapitalised(words: str) -> str:
    return words if words.startswith("I ") else words[:1].lower() + words[1:]


_Speaker = Callable[[Part, frozenset[Act], Random], list[Phrase]]

_SPEAKERS: dict[Act, _Speaker] = {
    "NOTIFY_SUCCESS": _success,
    "NOTIFY_FAILURE": _failure,
    "OFFER": _offer,
    "REQUEST": _requests,
    "CONFIRM": _confirmation,
    "OFFER_INTENT": _proposal,
    "REQ_MORE": _more,
    "GOODBYE": _goodbye,
}
"""Functions by act, in the order in which a turn says its acts."""
