"""How times of day are said."""

from __future__ import annotations

import re
from datetime import date

from agent_gym_env.corpus.surface import any_of, rule

_HOURS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_HOUR_NUMBERS = {name: number for number, name in enumerate(_HOURS, 1)}
_SHIFTS = {"half past": 30, "quarter past": 15, "quarter to": -15}
_NAMED = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}
WORDS = frozenset((*_HOURS, *_NAMED))
"""Each time of day that is said without a digit has one of these words."""

_HALF_DAY = 12 * 60

_HOUR = f"(?P<hour>[0-2]?[0-9]|{any_of(_HOURS)})"
_MINUTE = "(?P<minute>[0-5][0-9])"
_PARTS = "morning|afternoon|evening|night"
_PART = f"(?:\\s{{0,3}}(?P<part>am|pm|a\\.m\\.?|p\\.m\\.?)| (?:in the|at) (?P<daytime>{_PARTS}))"
# SGD writes o"clock.
_OCLOCK = "\\s{0,3}o['\"\u2019]?\\s?clock"
_SHIFT = f"(?P<shift>{any_of(_SHIFTS)})"


def _read_clock(match: re.Match[str], today: date) -> str | None:
    found = match.groupdict()
    hour = _HOUR_NUMBERS.get(found["hour"]) or int(found["hour"])
    if hour > 24:
        return None
    shift = _SHIFTS[" ".join(found["shift"].split())] if found.get("shift") else 0
    minutes = 60 * hour + int(found.get("minute") or 0) + shift
    part = found.get("part") or found.get("daytime")
    if part and hour <= 12:
        minutes %= _HALF_DAY
        if _is_second_half(part, minutes):
            minutes += _HALF_DAY
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def _is_second_half(part: str, minutes: int) -> bool:
    if part == "night":
        return minutes >= _HALF_DAY // 2
    return part[0] == "p" or part in ("afternoon", "evening")


def _read_named(match: re.Match[str], today: date) -> str | None:
    return _NAMED[match["named"]]


RULES = (
    rule(f"{_SHIFT} {_HOUR}(?:{_OCLOCK})?{_PART}?", _read_clock),
    rule(f"{_HOUR}(?:[:.]{_MINUTE}(?::[0-5][0-9])?|{_OCLOCK})?{_PART}", _read_clock),
    rule(f"{_HOUR}{_OCLOCK}", _read_clock),
    rule(f"(?P<daytime>{_PARTS}),? (?P<hour>[0-2]?[0-9])(?::{_MINUTE})?", _read_clock),
    rule(f"(?P<hour>[0-2]?[0-9]):{_MINUTE}(?::[0-5][0-9])?", _read_clock),
    rule(f"(?:12 )?(?P<named>{any_of(_NAMED)})", _read_named),
)
"""``24:00``, SGD's midnight, is ``00:00``; an hour without its half of the day stays as it is."""
