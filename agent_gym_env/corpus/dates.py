"""How dates are said, relative to the day on which they are said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

from agent_gym_env.corpus.surface import any_of, rule

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
WORDS = frozenset((*_WEEKDAYS, "yesterday", "today", "tonight", "tomorrow"))
"""Each date that is said without a digit has one of these words."""

_MONTH = f"(?P<month>{any_of(_MONTHS)}|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\\b\\.?)"
_DAY = "(?P<day>[0-3]?[0-9])"
_YEAR = "(?P<year>[0-9]{4})"
_NTH = f"{_DAY}(?:st|nd|rd|th)"
_WEEKDAY = f"(?P<weekday>{any_of(_WEEKDAYS)})"
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


RULES = (
    rule(f"{_YEAR}[-/](?P<month>[01]?[0-9])[-/]{_DAY}", _read_full),
    # As in the United States, where SGD was written.
    rule(f"(?P<month>[01]?[0-9])/{_DAY}/{_YEAR}", _read_full),
    rule(f"(?:the )?{_NTH} of this month", _read_day_of_this_month),
    rule(f"(?:the )?{_DAY}(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? {_YEAR})?", _read_month_and_day),
    rule(f"{_MONTH} (?:the )?{_DAY}(?:st|nd|rd|th)?(?:,? {_YEAR})?", _read_month_and_day),
    # "The 5th Avenue" is no date.
    rule(f"the {_NTH}(?!\\s+(?:street|avenue|floor))", _read_day),
    rule(f"{_WEEKDAY},? {_WHICH} week", _read_weekday_of_week),
    rule(f"(?P<which>next) {_WEEKDAY}", _read_weekday_of_week),
    rule(f"(?:this )?{_WEEKDAY}", _read_next_such_weekday),
    rule(
        "(?:later |the )?(?P<relative>day after tomorrow|today|tonight|tomorrow|yesterday)",
        _read_relative_day,
    ),
)
"""A day without its year, its month or its week is the next such day, today included."""
