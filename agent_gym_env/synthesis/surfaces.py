"""Ways in which people say a canonical value."""

from __future__ import annotations

import re
from datetime import date
from random import Random
from typing import Literal, NamedTuple

from agent_gym_env.corpus.sgd import TODAY

Kind = Literal["text", "date", "time", "number", "money", "boolean"]

DAYS_AHEAD = 14
"""Number of days from `TODAY` in which example dates lie."""

_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_WHOLE = re.compile(r"\d{1,15}")
_DECIMAL = re.compile(r"\d{1,15}(\.\d\d)?")
_BOOLEAN = re.compile("True|False")
_PATTERNS: dict[Kind, re.Pattern[str]] = {
    "boolean": _BOOLEAN,
    "date": _ISO_DATE,
    "time": _CLOCK,
    "money": _DECIMAL,
    "number": _WHOLE,
}
"""Patterns of the kinds, in the order in which they are tried; other values are text."""

_MONEY_WORDS = ("price", "cost", "fare", "fee", "amount", "balance", "rate_per")


class Surface(NamedTuple):
    """One way to say a value.

    Attributes:
        text: words of the value, which an annotation marks.
        lead: words before the value that are not part of it, such as ``"the "``.
        takes_on: whether "on" may precede it, as in "on March 4th" but not "on tomorrow".
    """

    text: str
    lead: str = ""
    takes_on: bool = True


def kind_of(slot: str, values: list[str]) -> Kind:
    """Infer the kind of a slot from its name and some of its canonical values."""
    if not values:
        return "text"
    is_money = any(word in slot for word in _MONEY_WORDS)
    possible = (kind for kind in _PATTERNS if kind != "money" or is_money)
    fitting = (kind for kind in possible if all(fits(kind, value) for value in values))
    return next(fitting, "text")


def formal(kind: Kind, value: str) -> list[Surface]:
    """Return the ways a system says a value; the first is the usual one."""
    if not fits(kind, value):
        return [Surface(value)]
    if kind == "date":
        return _formal_dates(value)
    if kind == "time":
        return [Surface(_clock(value))]
    if kind == "money":
        return [Surface(_dollars(value))]
    return [Surface(value)]


def usual_form(value: str, slot: str = "") -> str:
    """Return the usual way to say a value, such as 5:15 pm for ``17:15``.

    Args:
        value: the canonical value.
        slot: its slot, whose name tells an amount of money from a number.
    """
    return formal(kind_of(slot, [value]), value)[0].text


def spoken(kind: Kind, value: str) -> list[Surface]:
    """Return the ways a user says a value, the formal ones included."""
    if not fits(kind, value):
        return [Surface(value)]
    if kind == "date":
        return _formal_dates(value) + _casual_dates(value)
    if kind == "time":
        return [Surface(_clock(value)), *_casual_times(value)]
    if kind == "money":
        return [Surface(_dollars(value)), Surface(f"{_grouped(value)} dollars")]
    if kind == "number" and int(value) < len(_NUMBER_WORDS):
        return [Surface(value), Surface(_NUMBER_WORDS[int(value)])]
    return [Surface(value)]


def fits(kind: Kind, value: str) -> bool:
    """Return whether a canonical value is of a kind."""
    pattern = _PATTERNS.get(kind)
    if pattern is not None and pattern.fullmatch(value) is None:
        return False
    return kind != "date" or _is_day(value)


def pick(surfaces: list[Surface], rng: Random) -> Surface:
    """Draw one of several ways; the first has an extra probability of 0.4."""
    return surfaces[0] if rng.random() < 0.4 else rng.choice(surfaces)


def _is_day(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _formal_dates(value: str) -> list[Surface]:
    day = date.fromisoformat(value)
    named = Surface(f"{day:%B} {_ordinal(day.day)}")
    ahead = (day - date.fromisoformat(TODAY)).days
    relative = {0: Surface("today", takes_on=False), 1: Surface("tomorrow", takes_on=False)}
    if ahead in relative:
        return [named, relative[ahead]]
    return [named, Surface(f"next {day:%A}", takes_on=False)] if _is_next_week(day) else [named]


def _casual_dates(value: str) -> list[Surface]:
    day = date.fromisoformat(value)
    today = date.fromisoformat(TODAY)
    ordinal = _ordinal(day.day)
    forms = [Surface(f"{ordinal} of {day:%B}", lead="the ")]
    if (day.year, day.month) == (today.year, today.month):
        forms += [Surface(f"{ordinal} of this month", lead="the "), Surface(f"the {ordinal}")]
    ahead = (day - today).days
    if ahead == 0:
        forms.append(Surface("later today", takes_on=False))
    if ahead in (1, 2):
        forms.append(Surface(f"this {day:%A}", takes_on=False))
    if ahead == 2:
        forms.append(Surface("day after tomorrow", lead="the ", takes_on=False))
    if _is_next_week(day):
        forms.append(Surface(f"{day:%A} next week"))
    return forms


def _is_next_week(day: date) -> bool:
    """Return whether "next Monday" means this day: a working day of the next week."""
    today = date.fromisoformat(TODAY)
    weeks = day.isocalendar()[1] - today.isocalendar()[1]
    return day.year == today.year and weeks == 1 and day.weekday() < 5


def _ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _clock(value: str) -> str:
    hour, minute = int(value[:2]), value[3:]
    minutes = "" if minute == "00" else f":{minute}"
    return f"{hour % 12 or 12}{minutes} {'am' if hour < 12 else 'pm'}"


def _casual_times(value: str) -> list[Surface]:
    hour, minute = int(value[:2]), int(value[3:])
    part = _part_of_day(hour)
    twelve = hour % 12 or 12
    if minute == 0:
        phrases = [
            f"{twelve} {part}",
            f"{twelve} o'clock {part}",
            f"{_NUMBER_WORDS[twelve]} {part}",
        ]
    elif minute == 15:
        phrases = [f"quarter past {twelve} {part}", f"{twelve}:15 {part}"]
    elif minute == 30:
        phrases = [f"half past {twelve} {part}", f"{twelve}:30 {part}"]
    elif minute == 45:
        following = (hour + 1) % 12 or 12
        phrases = [f"quarter to {following} {_part_of_day(hour + 1)}", f"{twelve}:45 {part}"]
    else:
        phrases = [f"{twelve}:{minute:02} {part}"]
    return [Surface(phrase) for phrase in phrases]


def _part_of_day(hour: int) -> str:
    if hour % 24 < 12:
        return "in the morning"
    return "in the afternoon" if hour < 17 else "in the evening"


def _grouped(value: str) -> str:
    whole, _, cents = value.partition(".")
    grouped = f"{int(whole):,}"
    return f"{grouped}.{cents}" if cents and int(cents) else grouped


def _dollars(value: str) -> str:
    return f"${_grouped(value)}"
