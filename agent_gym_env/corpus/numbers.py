"""How numbers and amounts of money are written and said."""

from __future__ import annotations

import re
from datetime import date

from agent_gym_env.corpus.surface import any_of, rule

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {
    "zero": 0,
    **{name: number for number, name in enumerate(_ONES, 1)},
    **{name: number for number, name in enumerate(_TEENS, 10)},
    **{name: 10 * number for number, name in enumerate(_TENS, 2)},
}

WORDS = frozenset(_SMALL)
"""Each number that is said without a digit has one of these words."""

_CURRENCY = "(?:[$\u20ac\u00a3]\\s?)?"
_UNIT = "(?: (?:dollars?|bucks?|usd))?"
_BELOW_100 = f"(?:{any_of(_TENS)}(?:[\\s-]{any_of(_ONES)})?|{any_of(_TEENS)}|{any_of(_ONES)})"
_BELOW_1000 = f"(?:{any_of([*_ONES, *_TEENS])} hundred(?: (?:and )?{_BELOW_100})?|{_BELOW_100})"
_SPOKEN = f"{_BELOW_1000} thousand(?: (?:and )?{_BELOW_1000})?|{_BELOW_1000}|zero"


def _read_written(match: re.Match[str], today: date) -> str | None:
    whole = match["whole"].replace(",", "").lstrip("0") or "0"
    fraction = (match["fraction"] or "").rstrip("0")
    number = f"{whole}.{fraction}" if fraction else whole
    return f"-{number}" if match["sign"] and number != "0" else number


def _read_spoken(match: re.Match[str], today: date) -> str | None:
    thousands, _, rest = match["spoken"].rpartition("thousand")
    return str(1000 * _below_1000(thousands) + _below_1000(rest))


def _below_1000(said: str) -> int:
    hundreds, _, rest = said.rpartition("hundred")
    return 100 * _sum(hundreds) + _sum(rest)


def _sum(said: str) -> int:
    return sum(_SMALL.get(word, 0) for word in said.replace("-", " ").split())


RULES = (
    # A minus sign begins a word: "408-971" is no negative number.
    rule(
        f"(?P<sign>(?<![^\\s([\"'])-)?{_CURRENCY}(?P<whole>[0-9]{{1,3}}(?:,[0-9]{{3}}){{1,4}}|[0-9]{{1,15}})"
        f"(?:\\.(?P<fraction>[0-9]{{1,9}}))?{_UNIT}",
        _read_written,
    ),
    rule(f"(?P<spoken>{_SPOKEN}){_UNIT}", _read_spoken),
)
