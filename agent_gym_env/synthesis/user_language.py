"""Utterances of the user."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from agent_gym_env.corpus.sgd import Act
from agent_gym_env.synthesis import phrases
from agent_gym_env.synthesis.clauses import deed, draw, fragments, listed, value, wishes
from agent_gym_env.synthesis.moves import Part
from agent_gym_env.synthesis.templates import Phrase, fill, join, sentence
from agent_gym_env.values.equality import DONTCARE

_GREETED = 0.3
_WHOLE_OPENING = 0.35
_BARE_VALUE = 0.35

_STOCK: dict[frozenset[Act], list[str]] = {
    frozenset({"SELECT"}): phrases.SELECT,
    frozenset({"SELECT", "GOODBYE"}): phrases.SELECT_GOODBYE,
    frozenset({"THANK_YOU"}): phrases.THANK_YOU,
    frozenset({"THANK_YOU", "GOODBYE"}): phrases.THANKS_GOODBYE,
    frozenset({"NEGATE", "THANK_YOU"}): phrases.NO_THANKS,
    frozenset({"NEGATE"}): phrases.REFUSED_COUNTER_OFFER,
    frozenset({"NEGATE", "GOODBYE"}): phrases.REFUSED_COUNTER_OFFER_GOODBYE,
    frozenset({"AFFIRM_INTENT"}): phrases.ACCEPTED_INTENT,
    frozenset({"NEGATE_INTENT"}): phrases.DECLINED_INTENT,
    frozenset({"NEGATE_INTENT", "GOODBYE"}): phrases.DECLINED_INTENT_GOODBYE,
    frozenset({"GOODBYE"}): phrases.USER_GOODBYE,
}
STOCK_ACTS: frozenset[Act] = frozenset().union(*_STOCK, {"AFFIRM"})
"""Acts that are said in a ready sentence, alone or together with others of them."""


def has_stock(part: Part) -> bool:
    """Return whether `speak` has words for the acts of a part together."""
    if part.acts >= {"NEGATE", "INFORM"}:
        return not part.acts & STOCK_ACTS - {"NEGATE"}
    stock = part.acts & STOCK_ACTS
    return not stock or stock == {"AFFIRM"} or stock in _STOCK


def speak(parts: list[Part], heard: Part | None, rng: Random) -> list[Phrase]:
    """Return the phrases of a turn of the user.

    Args:
        parts: acts by service, in the order in which they are said.
        heard: acts of the system before it; ``None`` at the start.
        rng: generator that draws the wordings.
    """
    said = [phrase for part in parts for phrase in _part(part, heard, len(parts) > 1, rng)]
    if heard is None and rng.random() < _GREETED:
        return [draw(phrases.GREETINGS, rng), *said]
    return said


def _part(part: Part, heard: Part | None, among_others: bool, rng: Random) -> list[Phrase]:
    acts = part.acts
    informed = part.values("INFORM")
    said: list[Phrase] = []
    if acts >= {"NEGATE", "INFORM"}:
        said += _corrections(part, informed, rng)
        informed = {}
    elif stock := acts & STOCK_ACTS:
        said.append(_stock(part, stock, heard, rng))
    if "INFORM_INTENT" in acts:
        said += _opening(part, informed, heard, among_others or bool(said), rng)
    elif "REQUEST_ALTS" in acts:
        said += _alternatives(part, informed, rng)
    elif informed:
        said += _answers(part, informed, heard, rng)
    if "REQUEST" in acts:
        asked: list[Phrase] = [
            [part.model.wording.question(slot, rng)] for slot in part.slots("REQUEST")
        ]
        decides = heard is not None and "OFFER" in heard.acts and not said
        leads = phrases.QUESTIONS if decides else phrases.QUESTIONS_ON_THE_SIDE
        said.append(draw(leads, rng, listed(asked)))
    return said


def _stock(part: Part, acts: frozenset[Act], heard: Part | None, rng: Random) -> Phrase:
    choice = heard and "SELECT" in acts and part.model.wording.choice(heard.intent, rng)
    if choice:
        goodbye = [draw(phrases.USER_GOODBYE, rng)] if "GOODBYE" in acts else []
        return join([sentence([choice]), *goodbye])
    if acts != {"AFFIRM"}:
        return draw(_STOCK[acts], rng)
    before = heard.acts if heard else frozenset()
    if "CONFIRM" in before:
        return draw(phrases.CONFIRMED, rng)
    accepted_offer = "NOTIFY_FAILURE" in before
    return draw(
        phrases.ACCEPTED_COUNTER_OFFER if accepted_offer else phrases.ACCEPTED_SUGGESTION, rng
    )


def _opening(
    part: Part, informed: Mapping[str, str], heard: Part | None, follows: bool, rng: Random
) -> list[Phrase]:
    """Return a request for an intent with its values."""
    wanted, indifferent = _by_preference(informed)
    if wanted and _is_retry(part, heard):
        return _stated(part, wanted, phrases.RETRIES, rng)
    completions = fragments(part, wanted, part.model.wording.said_by_user, rng)
    completions += _carried(part, rng)
    whole = part.model.wording.opening(part.intent, rng)
    if whole is not None and heard is None and rng.random() < _WHOLE_OPENING:
        said = [sentence([whole])]
        if completions:
            said.append(sentence(draw(phrases.PREFERENCES, rng, join(completions))))
    else:
        what = join([[deed(part, part.intent, rng)], *completions])
        said = [sentence(draw(_openings(part, heard, follows), rng, what))]
    return [*said, *_wishes(part, wanted, rng), *_indifference(part, indifferent, rng)]


def _is_retry(part: Part, heard: Part | None) -> bool:
    """Return whether the user retries an intent that just failed."""
    if heard is None or heard.model is not part.model or heard.intent != part.intent:
        return False
    return "NOTIFY_FAILURE" in heard.acts


def _openings(part: Part, heard: Part | None, follows: bool) -> list[str]:
    if heard is None:
        return phrases.OPENINGS
    if follows and heard.model.name == part.model.name:
        return phrases.FOLLOW_UP_OPENINGS
    return phrases.NEXT_OPENINGS


def _carried(part: Part, rng: Random) -> list[Phrase]:
    words = [part.model.wording.again(slot, rng) for slot in part.carried]
    return [[said] for said in words if said]


def _answers(
    part: Part, informed: Mapping[str, str], heard: Part | None, rng: Random
) -> list[Phrase]:
    """Return the answers to the system's questions, then the other values."""
    wanted, indifferent = _by_preference(informed)
    asked = heard.slots("REQUEST") if heard else []
    answer = {slot: it for slot, it in wanted.items() if slot in asked}
    further = {slot: it for slot, it in wanted.items() if slot not in asked}
    said = _bare_answer(part, answer, rng) or _stated(part, answer, phrases.ANSWERS, rng)
    leads = phrases.FURTHER_PREFERENCES if said else phrases.ANSWERS
    return said + _stated(part, further, leads, rng) + _indifference(part, indifferent, rng)


def _bare_answer(part: Part, answer: Mapping[str, str], rng: Random) -> list[Phrase]:
    """Return a single value as the answer, with a probability."""
    if len(answer) != 1 or rng.random() > _BARE_VALUE:
        return []
    [(slot, canonical)] = answer.items()
    if part.model.kind(slot) == "boolean":
        return []
    word = value(part, slot, canonical, part.model.wording.said_by_user, rng)
    return [sentence(draw(phrases.BARE_ANSWERS, rng, fill("{it}", {"it": word})))]


def _stated(part: Part, wanted: Mapping[str, str], leads: list[str], rng: Random) -> list[Phrase]:
    """Return values with a fragment after one of the leads, and the others in clauses."""
    completions = fragments(part, wanted, part.model.wording.said_by_user, rng)
    said = [sentence(draw(leads, rng, join(completions)))] if completions else []
    return said + _wishes(part, wanted, rng)


def _wishes(part: Part, wanted: Mapping[str, str], rng: Random) -> list[Phrase]:
    clauses = wishes(part, wanted, part.model.wording.said_by_user, rng)
    return [sentence(draw(phrases.WISHES, rng, clause)) for clause in clauses]


def _alternatives(part: Part, informed: Mapping[str, str], rng: Random) -> list[Phrase]:
    wanted, indifferent = _by_preference(informed)
    if not wanted:
        return [draw(phrases.ALTERNATIVES, rng), *_indifference(part, indifferent, rng)]
    saying = part.model.wording.said_by_user
    said: list[Phrase] = []
    if completions := fragments(part, wanted, saying, rng):
        said.append(sentence(draw(phrases.CHANGES, rng, join(completions))))
    if other := wishes(part, wanted, saying, rng):
        said.append(sentence(draw(phrases.CHANGE_WISHES, rng, listed(other))))
    return said + _indifference(part, indifferent, rng)


def _corrections(part: Part, informed: Mapping[str, str], rng: Random) -> list[Phrase]:
    wanted, indifferent = _by_preference(informed)
    saying = part.model.wording.said_by_user
    said = fragments(part, wanted, saying, rng) + wishes(part, wanted, saying, rng)
    corrected = [sentence(draw(phrases.CORRECTIONS, rng, join(said)))] if said else [["No."]]
    return [*corrected, *_indifference(part, indifferent, rng)]


def _indifference(part: Part, slots: list[str], rng: Random) -> list[Phrase]:
    return [sentence([part.model.wording.indifference(slot, rng)]) for slot in slots]


def _by_preference(informed: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Separate the values that the user wants from the slots without a preference."""
    wanted = {slot: it for slot, it in informed.items() if it != DONTCARE}
    return wanted, [slot for slot, it in informed.items() if it == DONTCARE]
