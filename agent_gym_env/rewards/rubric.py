"""The rubric of a judge, and the only accepted form of its verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec

from agent_gym_env.errors import JudgeError

HIGHEST_LEVEL = 4
MAX_VERDICT_CHARS = 32 * 1024

MAX_REASON_CHARS = 300
"""Longest reason of a verdict, so that small judges finish their verdicts."""

MAX_VERDICT_TOKENS = 2048
"""Limit of tokens, which holds the longest verdict even where each of the reason's characters is
written as an escape of six tokens; some models think before they write."""

_CASE = "case"
_REASON = "reason"

DISAGREEMENT = "disagreement"
"""Name of the part that tells how far several votes differ."""

RESERVED = (_CASE, _REASON, DISAGREEMENT)
"""Names that no criterion may have."""


class Criterion(NamedTuple):
    """One question of the rubric.

    Attributes:
        name: name of the component.
        question: question that the level answers.
        levels: meaning of each level from 0.
        weight: weight in the mean of the criteria, above 0.
    """

    name: str
    question: str
    levels: tuple[str, str, str, str, str]
    weight: float = 1.0


RESPONSE_QUALITY = Criterion(
    "response_quality",
    "How well do the words of the reply serve the user at this point of the conversation? What "
    "they state must agree with the tool results and with what the user has said.",
    (
        "empty, off topic, or misleading: it says the opposite of what is true",
        "on topic, but a value that matters is wrong or made up",
        "nothing is wrong, but something that the user needs now is missing",
        "right and complete, with a flaw in wording, order or length",
        "right, complete, and to the point",
    ),
)
TOOL_CORRECTNESS = Criterion(
    "tool_correctness",
    "Were the right tools called with the right arguments? Two ways to write one value are equal; "
    "an optional argument left out equals its default.",
    (
        "a needed call is missing, a call was made that was not needed, or the wrong tool called",
        "the right tool, but most arguments are wrong or missing",
        "the right tool, but an argument that changes the outcome is wrong or missing",
        "the right tool and arguments, with a harmless flaw, such as a call made twice",
        "exactly the calls that were needed, with the right arguments",
    ),
)


class Verdict(NamedTuple):
    """A verdict of a judge.

    Attributes:
        levels: level by criterion, from 0 to `HIGHEST_LEVEL`.
        reason: reason in the judge's words.
    """

    levels: dict[str, int]
    reason: str


def verdict_schema(case: str, criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Write the JSON schema of a verdict on a case; the reason comes before the levels."""
    level = {"type": "integer", "minimum": 0, "maximum": HIGHEST_LEVEL}
    properties = {
        _CASE: {"type": "string", "enum": [case]},
        _REASON: {"type": "string", "maxLength": MAX_REASON_CHARS},
        **{criterion.name: level for criterion in criteria},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_verdict(text: str, case: str, criteria: Sequence[Criterion]) -> Verdict:
    """Read a verdict: a JSON object with exactly the fields of its schema, and nothing around it.

    Raises:
        JudgeError: it is anything else. The message quotes nothing of the text.
    """
    found = _json_object(text)
    expected = {_CASE, _REASON, *(criterion.name for criterion in criteria)}
    if found.keys() != expected:
        raise JudgeError(f"expected the fields {sorted(expected)} and no others")
    if found[_CASE] != case:
        raise JudgeError(f"the verdict is not on case {case}")
    if not isinstance(found[_REASON], str):
        raise JudgeError("the reason is not a text")
    levels = {criterion.name: found[criterion.name] for criterion in criteria}
    for name, level in levels.items():
        # A bool is an int in Python; 4.0 is not an integer, though it equals one.
        if type(level) is not int or not 0 <= level <= HIGHEST_LEVEL:
            raise JudgeError(f"{name} is not an integer from 0 to {HIGHEST_LEVEL}")
    return Verdict(levels, found[_REASON].encode("utf-8", "replace").decode())


def _json_object(text: str) -> dict[str, Any]:
    if len(text) > MAX_VERDICT_CHARS:
        raise JudgeError(f"the verdict is longer than {MAX_VERDICT_CHARS} characters")
    if not text.strip():
        raise JudgeError("the judge said nothing")
    try:
        found = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_refuse)
    except JudgeError:
        raise
    except (ValueError, RecursionError) as error:
        raise JudgeError("the verdict is not one JSON document") from error
    if not isinstance(found, dict):
        raise JudgeError("the verdict is not a JSON object")
    return found


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise JudgeError("the verdict has a field twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise JudgeError("the verdict contains NaN or infinity")


def describe(criteria: Sequence[Criterion]) -> str:
    """Write the rubric for the judge to read."""
    return msgspec.json.format(
        msgspec.json.encode(
            {
                criterion.name: {
                    "question": criterion.question,
                    "levels": {str(level): text for level, text in enumerate(criterion.levels)},
                }
                for criterion in criteria
            }
        )
    ).decode()
