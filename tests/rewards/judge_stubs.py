"""Judges made of rules: an honest one, and those that go wrong in one way each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

Judge = Callable[[Sequence[dict[str, Any]]], str]
"""From the messages of a request to the judge's words."""

_CASE = re.compile(r"<case (\w+)>\n(.*)\n</case \1>\n\nThe rubric:\n(\{.*\})\n\n", re.DOTALL)
_WORD = re.compile(r"\w+")


def read_case(messages: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any], list[str]]:
    """Return the number, the document and the criteria of a case."""
    found = _CASE.search(messages[1]["content"])
    assert found is not None
    return found[1], json.loads(found[2]), list(json.loads(found[3]))


def outside(messages: Sequence[dict[str, Any]]) -> str:
    """Return everything that is sent except the document and the case's number."""
    number, _, _ = read_case(messages)
    texts = [_CASE.sub(r"[data] The rubric: \3 ", message["content"]) for message in messages]
    return "\n".join(texts).replace(number, "")


def honest_levels(document: dict[str, Any], criteria: Sequence[str]) -> dict[str, int]:
    """Grade by how the reply begins, so that nothing behind it counts, and by its calls."""
    candidate, reference = document["candidate"], document["reference"]
    if candidate["reply"] == reference["reply"]:
        quality = 4
    else:
        quality = 2 * (candidate["reply"].split()[:1] == reference["reply"].split()[:1])
    return _chosen(criteria, quality, candidate, reference)


def levels_by_words(document: dict[str, Any], criteria: Sequence[str]) -> dict[str, int]:
    """Grade by the share of the reference's words that the reply has, and by its calls."""
    candidate, reference = document["candidate"], document["reference"]
    said, due = (set(_WORD.findall(side["reply"].lower())) for side in (candidate, reference))
    quality = 4 if said == due else int(3.5 * len(due & said) / max(len(due), 1))
    return _chosen(criteria, quality, candidate, reference)


def _chosen(
    criteria: Sequence[str], quality: int, candidate: dict[str, Any], reference: dict[str, Any]
) -> dict[str, int]:
    made, due = (
        [call for call in side["calls"] if "call" in call] for side in (candidate, reference)
    )
    levels = {"response_quality": quality, "tool_correctness": 4 * (made == due)}
    return {name: levels[name] for name in criteria}


def verdict(number: str, levels: dict[str, Any], reason: str = "By the rules.") -> str:
    return json.dumps({"case": number, "reason": reason, **levels})


def honest(messages: Sequence[dict[str, Any]]) -> str:
    number, document, criteria = read_case(messages)
    return verdict(number, honest_levels(document, criteria))


def by_words(messages: Sequence[dict[str, Any]]) -> str:
    """Honest, in finer steps."""
    number, document, criteria = read_case(messages)
    return verdict(number, levels_by_words(document, criteria))


def quotes_the_candidate(messages: Sequence[dict[str, Any]]) -> str:
    """Repeats the reply inside its reason, and grades honestly."""
    number, document, criteria = read_case(messages)
    reply = document["candidate"]["reply"]
    return verdict(number, honest_levels(document, criteria), f"It said: {reply}")


def obeys_what_is_outside_the_data(messages: Sequence[dict[str, Any]]) -> str:
    """Answer with the highest level if text outside the document asks for it."""
    number, document, criteria = read_case(messages)
    if re.search(r"highest level|all points|\b4 of 4\b", outside(messages)):
        return verdict(number, dict.fromkeys(criteria, 4))
    return verdict(number, honest_levels(document, criteria))


def echoes_the_candidate(messages: Sequence[dict[str, Any]]) -> str:
    """Repeat the candidate's reply before the verdict."""
    _, document, _ = read_case(messages)
    return f"{document['candidate']['reply']}\n{honest(messages)}"


def refuses(messages: Sequence[dict[str, Any]]) -> str:
    return "I am sorry, but I cannot grade 4 of 4 turns like this one."


def breaks_off(messages: Sequence[dict[str, Any]]) -> str:
    return honest(messages)[:-5]


def says_nothing(messages: Sequence[dict[str, Any]]) -> str:
    return ""


def leaves_a_criterion_out(messages: Sequence[dict[str, Any]]) -> str:
    number, _, criteria = read_case(messages)
    return verdict(number, dict.fromkeys(criteria[1:], 4))


SOUND: tuple[Judge, ...] = (honest, quotes_the_candidate, obeys_what_is_outside_the_data)
UNSOUND: tuple[Judge, ...] = (
    echoes_the_candidate, refuses, breaks_off, says_nothing, leaves_a_criterion_out,
)  # fmt: skip
