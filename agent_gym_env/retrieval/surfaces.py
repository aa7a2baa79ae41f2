"""How a system says a value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from agent_gym_env.retrieval.vocabulary import kind_of_value
from agent_gym_env.values.equality import canonical


def say(value: str, *, like: str, dates: Mapping[str, str], today: str) -> str:
    """Say a value.

    Args:
        value: in any form.
        like: how a value of the same slot was said: with or without a currency's sign.
        dates: how to say dates, by ISO date; others are said as in "March 8th".
        today: ISO date.
    """
    kind = kind_of_value(value, today)
    if kind == "date":
        key = canonical(value, today)
        return dates.get(key) or _say_date(key)
    if kind == "time":
        return _say_time(canonical(value, today))
    if kind == "number" and like.startswith("$"):
        return _say_money(value)
    return value


def _say_date(iso: str) -> str:
    day = date.fromisoformat(iso)
    ending = (
        "th" if 10 <= day.day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    )
    return f"{day:%B} {day.day}{ending}"


def _say_time(clock: str) -> str:
    hour, minute = int(clock[:2]), clock[3:]
    half = "am" if hour < 12 else "pm"
    return f"{hour % 12 or 12}{'' if minute == '00' else f':{minute}'} {half}"


def _say_money(amount: str) -> str:
    whole, point, cents = amount.lstrip("$").replace(",", "").partition(".")
    return f"${int(whole):,}{point}{cents}" if whole.isdecimal() else amount
