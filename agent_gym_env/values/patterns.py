"""Reads and finds dates, times of day and numbers in the forms in which people write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from functools import lru_cache
from itertools import islice
from typing import Literal, NamedTuple

_Reader = Callable[["re.Match[str]", date], "str | None"]
"""From a match and the day of the conversation to the canonical value; ``None`` if it has none."""

_NAMED_GROUP = re.compile(r"\(\?P<\w+>")


class _Rule(NamedTuple):
    """A way to write a value, and how to read it."""

    pattern: re.Pattern[str]
    read: _Reader


def _rule(pattern: str, read: _Reader) -> _Rule:
    """Make a rule; a space of the pattern matches one to three white-space characters.

    Every repetition in a pattern must be bounded: texts come from an agent, and a search must take
    linear time.
    """
    return _Rule(re.compile(pattern.replace(" ", r"\s{1,3}")), read)


def _any_of(words: Iterable[str]) -> str:
    """Return a pattern that matches one of some words."""
    return f"(?:{'|'.join(words)})"


def _either(rules: Iterable[_Rule]) -> str:
    """Return a pattern without groups that matches what one of the rules matches."""
    return "|".join(_NAMED_GROUP.sub("(?:", rule.pattern.pattern) for rule in rules)


def _read_first(rules: Iterable[_Rule], text: str, today: str | None) -> str | None:
    """Read a whole text by the first rule that can."""
    if today is None:
        # What is relative to the day differs between two days that have nothing in common.
        found, other = (_read_first(rules, text, day) for day in _UNLIKE_DAYS)
        return found if found == other else None
    day = date.fromisoformat(today)
    for pattern, read in rules:
        match = pattern.fullmatch(text)
        value = match and read(match, day)
        if value:
            return value
    return None


_UNLIKE_DAYS = ("2019-03-01", "2033-10-18")
"""Two days of another year, month, day of the month and day of the week."""


# Dates, relative to the day of the conversation.

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH_NUMBERS = {name[:3]: number for number, name in enumerate(_MONTHS, 1)}
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_OFFSETS = {"yesterday": -1, "today": 0, "tonight": 0, "tomorrow": 1, "day after tomorrow": 2}
_DATE_WORDS = frozenset((*_WEEKDAYS, "yesterday", "today", "tonight", "tomorrow"))
"""Every date without a digit contains one of these words."""

_MONTH = f"(?P<month>{_any_of(_MONTHS)}|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\\b\\.?)"
_DAY = "(?P<day>[0-3]?[0-9])"
_YEAR = "(?P<year>[0-9]{4})"
_NTH = f"{_DAY}(?:st|nd|rd|th)"
_WEEKDAY = f"(?P<weekday>{_any_of(_WEEKDAYS)})"
_WHICH = "(?P<which>this|next)"


def _read_full(match: re.Match[str], today: date) -> str | None:
    return _first_date([(int(match["year"]), int(match["month"]), int(match["day"]))])


def _read_month_and_day(match: re.Match[str], today: date) -> str | None:
    month, day = _MONTH_NUMBERS[match["month"][:3]], int(match["day"])
    if match["year"]:
        return _first_date([(int(match["year"]), month, day)])
    # The 29th of February is at most eight years away.
    years = range(today.year, today.year + 9)
    return _first_date(((year, month, day) for year in years), today)


def _read_day_of_this_month(match: re.Match[str], today: date) -> str | None:
    return _first_date([(today.year, today.month, int(match["day"]))])


def _read_day(match: re.Match[str], today: date) -> str | None:
    # A month without this day is followed by one that has it.
    months = range(today.month - 1, today.month + 2)
    day = int(match["day"])
    return _first_date(((today.year + m // 12, m % 12 + 1, day) for m in months), today)


def _read_weekday_of_week(match: re.Match[str], today: date) -> str | None:
    days = _WEEKDAYS.index(match["weekday"]) - today.weekday()
    return _days_later(today, days + 7 * (match["which"] == "next"))


def _read_next_such_weekday(match: re.Match[str], today: date) -> str | None:
    return _days_later(today, (_WEEKDAYS.index(match["weekday"]) - today.weekday()) % 7)


def _read_relative_day(match: re.Match[str], today: date) -> str | None:
    return _days_later(today, _OFFSETS[" ".join(match["relative"].split())])


def _first_date(
    candidates: Iterator[tuple[int, int, int]] | list[tuple[int, int, int]],
    earliest: date = date.min,
) -> str | None:
    for year, month, day in candidates:
        try:
            found = date(year, month, day)
        except ValueError:
            continue
        if found >= earliest:
            return found.isoformat()
    return None


def _days_later(today: date, days: int) -> str | None:
    try:
        return (today + timedelta(days=days)).isoformat()
    except OverflowError:
        return None


_DATES = (
    _rule(f"{_YEAR}[-/](?P<month>[01]?[0-9])[-/]{_DAY}", _read_full),
    # As in the United States, where SGD was written.
    _rule(f"(?P<month>[01]?[0-9])/{_DAY}/{_YEAR}", _read_full),
    _rule(f"(?:the )?{_NTH} of this month", _read_day_of_this_month),
    _rule(f"(?:the )?{_DAY}(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? {_YEAR})?", _read_month_and_day),
    _rule(f"{_MONTH} (?:the )?{_DAY}(?:st|nd|rd|th)?(?:,? {_YEAR})?", _read_month_and_day),
    # "The 5th Avenue" is not a date.
    _rule(f"the {_NTH}(?!\\s+(?:street|avenue|floor))", _read_day),
    _rule(f"{_WEEKDAY},? {_WHICH} week", _read_weekday_of_week),
    _rule(f"(?P<which>next) {_WEEKDAY}", _read_weekday_of_week),
    _rule(f"(?:this )?{_WEEKDAY}", _read_next_such_weekday),
    _rule(
        "(?:later |the )?(?P<relative>day after tomorrow|today|tonight|tomorrow|yesterday)",
        _read_relative_day,
    ),
)
"""A day without its year, its month or its week means the next such day, today included."""

# Times of day.

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
_TIME_WORDS = frozenset((*_HOURS, *_NAMED))
"""Every time of day without a digit contains one of these words."""

_HALF_DAY = 12 * 60

_HOUR = f"(?P<hour>[0-2]?[0-9]|{_any_of(_HOURS)})"
_MINUTE = "(?P<minute>[0-5][0-9])"
_PARTS = "morning|afternoon|evening|night"
_PART = f"(?:\\s{{0,3}}(?P<part>am|pm|a\\.m\\.?|p\\.m\\.?)| (?:in the|at) (?P<daytime>{_PARTS}))"
# SGD writes o"clock.
_OCLOCK = "\\s{0,3}o['\"\u2019]?\\s?clock"
_SHIFT = f"(?P<shift>{_any_of(_SHIFTS)})"


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


_TIMES = (
    _rule(f"{_SHIFT} {_HOUR}(?:{_OCLOCK})?{_PART}?", _read_clock),
    _rule(f"{_HOUR}(?:[:.]{_MINUTE}(?::[0-5][0-9])?|{_OCLOCK})?{_PART}", _read_clock),
    _rule(f"{_HOUR}{_OCLOCK}", _read_clock),
    _rule(f"(?P<daytime>{_PARTS}),? (?P<hour>[0-2]?[0-9])(?::{_MINUTE})?", _read_clock),
    _rule(f"(?P<hour>[0-2]?[0-9]):{_MINUTE}(?::[0-5][0-9])?", _read_clock),
    _rule(f"(?:12 )?(?P<named>{_any_of(_NAMED)})", _read_named),
)
"""``24:00``, SGD's midnight, is ``00:00``; an hour without its half of the day stays as it is."""

# Numbers and amounts of money.

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

_NUMBER_WORDS = frozenset(_SMALL)
"""Every number without a digit contains one of these words."""

_CURRENCY = "(?:[$\u20ac\u00a3]\\s?)?"
_UNIT = "(?: (?:dollars?|bucks?|usd))?"
_BELOW_100 = f"(?:{_any_of(_TENS)}(?:[\\s-]{_any_of(_ONES)})?|{_any_of(_TEENS)}|{_any_of(_ONES)})"
_BELOW_1000 = f"(?:{_any_of([*_ONES, *_TEENS])} hundred(?: (?:and )?{_BELOW_100})?|{_BELOW_100})"
_SPOKEN_NUMBER = f"{_BELOW_1000} thousand(?: (?:and )?{_BELOW_1000})?|{_BELOW_1000}|zero"


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


_NUMBERS = (
    # A minus sign begins a word: "408-971" is not a negative number.
    _rule(
        f"(?P<sign>(?<![^\\s([\"'])-)?{_CURRENCY}(?P<whole>[0-9]{{1,3}}(?:,[0-9]{{3}}){{1,4}}|[0-9]{{1,15}})"
        f"(?:\\.(?P<fraction>[0-9]{{1,9}}))?{_UNIT}",
        _read_written,
    ),
    _rule(f"(?P<spoken>{_SPOKEN_NUMBER}){_UNIT}", _read_spoken),
)

# All of them together.

Kind = Literal["date", "time", "number"]

MAX_MENTIONS = 256
"""Largest number of dates, times and numbers that are found in one text."""

_RULES = {"date": _DATES, "time": _TIMES, "number": _NUMBERS}
_KINDS = "|".join(f"(?P<{kind}>{_either(rules)})" for kind, rules in _RULES.items())
_VALUE = re.compile(_KINDS)
WORDS = _DATE_WORDS | _TIME_WORDS | _NUMBER_WORDS
"""Every value has a digit or begins one of its words with one of these, as "sevenpm" does."""

# The pattern of values is slow, so it is tried only where a value can begin. A word is recognised
# by its first three letters.
_FIRST_WORDS = (
    *WORDS,
    *_MONTHS,
    *_SHIFTS,
    *_PARTS.split("|"),
    "the",
    "this",
    "next",
    "later",
    "day",
)
_BEGINNINGS = _any_of(sorted({word[:3] for word in _FIRST_WORDS}))
_MAY_BEGIN = re.compile(
    rf"(?<!\w)(?:[0-9]|-[$\u20ac\u00a30-9]|[$\u20ac\u00a3]\s?[0-9]|{_BEGINNINGS})"
)
_MENTION = re.compile(rf"(?<!\d[-.,:/])(?:{_KINDS})(?!\w)(?![-.,:/]\d)")

_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class FoundValue(NamedTuple):
    """A date, a time or a number in a text.

    Attributes:
        start: index of the first character.
        end: index behind the last character.
        kind: kind of value.
        canonical: key of the text between, as `canonical` returns it.
    """

    start: int
    end: int
    kind: Kind
    canonical: str


def read_value(text: str, today: str | None) -> str | None:
    """Read a whole text as a date, a time or a number.

    Args:
        text: the text, in lower case.
        today: day of the conversation, ISO; ``None`` if it is not known, and then "tomorrow" is no
            date.

    Returns:
        ``YYYY-MM-DD``, ``HH:MM`` or a decimal number; ``None`` where the text is none of them.
    """
    match = _VALUE.fullmatch(text)
    if match is None or match.lastgroup is None:
        return None
    return _read_first(_RULES[match.lastgroup], text, today)


def find_values(text: str, today: str | None) -> list[FoundValue]:
    """Find dates, times and numbers in a text, from left to right, without overlap.

    Args:
        text: any text; the first `MAX_MENTIONS` of its values are found.
        today: day of the conversation, ISO; ``None`` if it is not known, and then "tomorrow" is no
            date.
    """
    # Lower case that keeps every character's place, which str.lower() does not.
    lower = text.lower() if text.isascii() else text.translate(_ASCII_LOWER)
    return list(islice(_mentions(lower, today), MAX_MENTIONS))


def _mentions(text: str, today: str | None) -> Iterator[FoundValue]:
    at = 0
    while beginning := _MAY_BEGIN.search(text, at):
        match = _MENTION.match(text, beginning.start())
        found = match and _found(match, today)
        if found:
            yield found
        # A text that was not read may contain a value: "May 45th" contains a number.
        at = found.end if found else beginning.start() + 1


def _found(match: re.Match[str], today: str | None) -> FoundValue | None:
    kind: Kind = match.lastgroup  # type: ignore[assignment]
    value = _read_mention(kind, match[0], today)
    return None if value is None else FoundValue(match.start(), match.end(), kind, value)


# The same times and numbers are said again and again.
@lru_cache(maxsize=8192)
def _read_mention(kind: Kind, text: str, today: str | None) -> str | None:
    return _read_first(_RULES[kind], text, today)
