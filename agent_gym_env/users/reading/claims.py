"""Rules over words, beside the learned models: what a text refuses, denies or reports.

A linear model of words cannot tell "I will book it" from "I will not book it". These rules look
for a negation before a verb or a value in the same clause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from agent_gym_env.users.reading.text import FoundValue, Token


def _one_of(words: str) -> str:
    """Return a pattern of one of the words, which are patterns too."""
    return rf"(?:{'|'.join(words.split())})"


_HARMLESS = re.compile(
    r"\bno (?:problems?|errors?|issues?|worries|trouble|doubt|need|matter|hurry)\b"
    r"|\bwithout (?:an? |any )?(?:hitch|errors?|problems?|issues?|trouble|difficult\w+|delay)\b"
    r"|\b(?:nothing|no|not|anything) (?:more|else|further|left)\b|\bnot (?:only|sure)\b"
    r"|\b(?:can't|cannot|can not) wait\b|\bwhy (?:not|don't)\b"
    r"|\b(?:don't|do not|need not|needn't) (?:worry|hesitate|mind|need|have to)\b"
)
"""Words that negate nothing that matters here."""

_NOT = (
    r"(?:\b"
    + _one_of("not never cannot neither nor nothing nobody isnt wasnt dont didnt cant couldnt wont")
    + r"\b|n't\b)"
)
_DONE = _one_of(
    "accepted added approved arranged booked bought completed? confirmed created done finali[sz]ed"
    " finished fulfilled gone issued locked made official ordered paid placed playing processed"
    " purchased? rented reserved? scheduled? secured sent set sorted started submitted succe?s+\\w*"
    " succeed\\w* transferred verified went worked"
)
_DO = _one_of(
    "able add arrange available book booking buy complete confirm continue do get go going help"
    " hire make order pay place play possible proceed process request reserving secure send set"
    " start submit transfer work"
)
_FAILED = _one_of(r"cancell?ed declin\w+ fail(?:ed|s|ures?)? impossible refus\w+ reject\w+ unable")
_BOOKING = _one_of("appointments? bookings? orders? purchases? reservations? transfers?")

_NEGATED_DEED = re.compile(rf"{_NOT}.*?\b(?:{_DONE}|{_DO}|reserve|rent|schedule|purchase)\b")
_REFUSED = re.compile(rf"\b{_FAILED}\b|\bno {_BOOKING}\b")
_UNDONE = re.compile(
    rf"{_REFUSED.pattern}|\b(?:errors?|problems?|issues?|unsuccess\w*|denied|unavailable|pending)\b"
    r"|\b(?:went wrong|sold out|fully booked|on hold)\b|\bno (?:tickets?|tables?)\b"
)
_UNDO = re.compile(
    r"(?:^|\b(?:i|we|me|us|let's)\b.*?)\b(?:cancel|delete|remove|undo|scrap|abandon|call off)\b"
)
_BOOKED_ALREADY = re.compile(
    r"\b(?:i|we)(?:'ve| have| had)?(?: just| now| gone ahead and)* "
    r"(?:booked|bought|completed|ordered|paid|purchased|rented|reserved|scheduled|transferred)\b"
    r"|\balready\b"
)
_CONDITION = re.compile(r"\b(?:until|till|unless|before|yet|without your|mistakes?|wrong)\b")
"""In a sentence with such words nothing is refused: "I won't book it until you say yes"."""

_REPORTS = re.compile(
    rf"\b{_DONE}\b|\b{_BOOKING} is\b|\b(?:begun|confirmation|managed|saved|starting|starts)\b"
    r"|\b(?:through|yours|all set|good to go|in order)\b|\bable to (?!help|assist)"
    r"|\benjoy (?:the|your) (?!day|evening|rest|stay|trip|week)\w|\bhave fun with\b"
    r"|\bon (?:its|it's|the) way\b|\bgot (?:it|the|tickets?|your?)\b"
)
_QUESTION = re.compile(
    r"(?:and |so |or )?"
    + _one_of(
        "are can could did do does how is may shall should want what when where which will would"
    )
    + r"\b.*\?"
)
_UNDECIDED = re.compile(
    r"\bor not\b|\bmay or may\b|\bwhether\b|\bmaybe\b|\bperhaps\b|\bno idea\b"
    r"|\b(?:don't|do not|cannot|can't) (?:know|say|tell)\b|\b(?:not sure|unsure|uncertain)\b"
)

_CLAUSE = re.compile(
    r"[,;:\n()]|\s[-\u2013\u2014]|\b"
    + _one_of("and although because but however so though whereas while")
    + r"\b"
)
_BOUND = re.compile(rf"[.!?](?!\d)|{_CLAUSE.pattern}")
_DENYING = frozenset((
    "arent", "cannot", "false", "incorrect", "instead", "isnt", "longer", "neither", "never", "nor",
    "not", "rather", "untrue", "wasnt", "wrong",
))  # fmt: skip
"""Words of which a text that denies a value has one, or one that ends in ``n't``."""

_DENIAL = re.compile(
    r"\b(?:arent|cannot|false|isnt|neither|never|nor|not|untrue|wasnt)\b|n't\b"
    r"|\b(?:instead of|no longer|rather than)\b"
)
_DENIED_AFTER = re.compile(
    r"\W{0,3}(?:is|are|was|were)(?:n't| not| never) (?:the|their|its|it|right|correct|true)\b"
    r"|\W{0,3}(?:is|are|was|were) (?:\w+ly )?(?:wrong|false|incorrect|untrue)\b"
)
_STATEMENT = re.compile(
    r"(?:(?:no|sure|well|yes)\W+)?(?:it|its|that|the|their|they|this)(?:'s|'re)?\b[^?]*$"
)
_CLAIM = re.compile(
    r"(?:\b(?:is|are|as|at|by|in)|'s|:)\s+(?:(?:an?|at|in|the)\s+)?([A-Z][\w'-]+|[+#(]*\d[\d() -]*)"
)
_NO_NAME = re.compile(
    _one_of(
        "able about all also always an? as at available being booked by called confirmed correct"
        " currently done for free from good great going in listed located made n[o']t? now of on"
        " one open paid please processed ready reserved right scheduled set still subject that the"
        " there this to usually very what where which with yes your"
    )
    + r"\b"
)
"""Words after "is" with which no name begins."""

_LIST = re.compile(r"(?:[\s,/&]|\b(?:or|nor|and|either)\b)*")


def plain(text: str) -> str:
    """Return a text in lower case with straight apostrophes, each character at its place."""
    return text.translate(_PLAIN)


_PLAIN: dict[int, int] = {
    ord("\u2019"): ord("'"),
    **{code: code + 32 for code in range(ord("A"), ord("Z") + 1)},
}


def harmless_left_out(text: str) -> str:
    """Return a plain text in which words such as "no problem" are blank."""
    return _HARMLESS.sub(lambda match: " " * len(match[0]), text)


def refuses(sentences: Iterable[str]) -> bool:
    """Return whether the agent refuses or cancels a booking, or says that it is already made.

    Args:
        sentences: those of a text, without the values.
    """
    for sentence in map(plain, sentences):
        for clause in _clauses(sentence):
            if _UNDO.search(clause) or _BOOKED_ALREADY.search(clause):
                return True
            if _CONDITION.search(sentence) is None and (
                _NEGATED_DEED.search(clause) or _REFUSED.search(clause)
            ):
                return True
    return False


class Report(NamedTuple):
    """The result of a booking, as a text tells it.

    Attributes:
        done: whether something is said to be done, outside questions.
        undone: whether something is said not to be done.
    """

    done: bool
    undone: bool


def report_of(sentences: Iterable[str]) -> Report:
    """Return what a text says of a booking's result.

    Args:
        sentences: those of a text, without the values.
    """
    done = undone = False
    for sentence in map(plain, sentences):
        is_question = _QUESTION.match(sentence) is not None
        for clause in _clauses(sentence):
            is_undone = bool(_NEGATED_DEED.search(clause) or _UNDONE.search(clause))
            undone |= is_undone
            done |= not is_question and not is_undone and bool(_REPORTS.search(clause))
    return Report(done, undone)


def is_undecided(clause: str) -> bool:
    """Return whether a clause leaves open whether something is so."""
    return _UNDECIDED.search(plain(clause)) is not None


def _clauses(sentence: str) -> Iterator[str]:
    yield from (part.strip() for part in _CLAUSE.split(harmless_left_out(sentence)))


def denied_values(
    text: str, tokens: Iterable[Token], found: Sequence[FoundValue]
) -> frozenset[int]:
    """Return the first characters of the values that a text denies: "it is not 4".

    Args:
        text: the text.
        tokens: its words.
        found: the values in it, from left to right.
    """
    if not any(word in _DENYING or word.endswith("n't") for word, _, _ in tokens):
        return frozenset()  # as in most texts
    lower = _masked(harmless_left_out(plain(text)), found)
    denied, last, is_denied = set(), 0, False
    for value in found:
        before = lower[last : value.start]
        if not (is_denied and _LIST.fullmatch(before)):
            clause = _BOUND.split(lower[: value.start])[-1]
            after = _DENIED_AFTER.match(lower, value.end)
            is_denied = _DENIAL.search(clause) is not None or after is not None
        if is_denied:
            denied.add(value.start)
        last = value.end
    return frozenset(denied)


def states(sentences: Iterable[str]) -> bool:
    """Return whether a text states something of a thing, such as "it is …".

    Args:
        sentences: those of a text, without the values.
    """
    return any(_STATEMENT.match(plain(sentence)) for sentence in sentences)


def unknown_name(text: str, found: Sequence[FoundValue]) -> str | None:
    """Return a name or number that a text states and that is none of its known values.

    Args:
        text: the text.
        found: the values in it.
    """
    claim = _CLAIM.search(_masked(text, found))
    return None if claim is None else claim[1]


def stated_name(text: str, found: Sequence[FoundValue], slot: str) -> str | None:
    """Return the words that a text says after "the SLOT is", if they are not a known value.

    Args:
        text: the text.
        found: the values in it.
        slot: words of the slot's name.
    """
    lower = plain(text)
    stated = f"the {slot} is "
    at = lower.find(stated)
    if at < 0:
        return None
    begin = at + len(stated)
    if any(value.start <= begin + 4 for value in found if value.start >= begin):
        return None  # also after "the" or "in"
    words = _BOUND.split(lower[begin:])[0].strip()
    return None if not words or _NO_NAME.match(words) else words


def clause_of(text: str, found: Sequence[FoundValue], value: FoundValue) -> str:
    """Return the clause around a value in lower case, with an x for each character of a value.

    Args:
        text: the text.
        found: the values in it.
        value: one of them.
    """
    masked = _masked(plain(text), found).replace(":", " ")  # it ties a name to its value
    before, after = masked[: value.start], masked[value.start :]
    return _BOUND.split(before)[-1] + _BOUND.split(after)[0]


def _masked(text: str, found: Sequence[FoundValue]) -> str:
    for value in found:
        text = text[: value.start] + "x" * (value.end - value.start) + text[value.end :]
    return text
