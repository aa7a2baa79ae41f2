from __future__ import annotations

from datetime import date, timedelta

import pytest

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.synthesis.surfaces import Kind, fits, formal, kind_of, spoken


def _texts(kind: Kind, value: str) -> set[str]:
    return {surface.text for surface in spoken(kind, value)}


def test_a_day_is_said_by_its_date_or_from_today_on() -> None:
    assert _texts("date", "2019-03-04") == {
        *("March 4th", "next Monday", "Monday next week"),
        *("4th of March", "4th of this month", "the 4th"),
    }
    assert {"today", "later today", "March 1st"} <= _texts("date", "2019-03-01")
    assert {"tomorrow", "this Saturday", "2nd of March"} <= _texts("date", "2019-03-02")
    assert {"day after tomorrow", "this Sunday"} <= _texts("date", "2019-03-03")


def test_a_day_of_another_month_is_not_of_this_month() -> None:
    assert _texts("date", "2019-04-21") == {"April 21st", "21st of April"}


def test_no_two_of_the_next_forty_days_share_a_name() -> None:
    today = date.fromisoformat(TODAY)
    days = [(today + timedelta(ahead)).isoformat() for ahead in range(40)]
    named: dict[str, str] = {}
    for day in days:
        for text in _texts("date", day):
            assert named.setdefault(text, day) == day


@pytest.mark.parametrize(
    ("value", "usual", "casual"),
    [
        ("18:30", "6:30 pm", "half past 6 in the evening"),
        ("12:00", "12 pm", "twelve in the afternoon"),
        ("00:15", "12:15 am", "quarter past 12 in the morning"),
        ("11:45", "11:45 am", "quarter to 12 in the afternoon"),
        ("09:05", "9:05 am", "9:05 in the morning"),
    ],
)
def test_a_time_is_said_with_its_part_of_the_day(value: str, usual: str, casual: str) -> None:
    assert formal("time", value)[0].text == usual
    assert casual in _texts("time", value)


def test_money_has_a_currency_and_groups_of_digits() -> None:
    assert _texts("money", "1630") == {"$1,630", "1,630 dollars"}
    assert [surface.text for surface in formal("money", "9120.75")] == ["$9,120.75"]
    assert [surface.text for surface in formal("money", "12.00")] == ["$12"]


def test_small_numbers_have_words() -> None:
    assert _texts("number", "3") == {"3", "three"}
    assert _texts("number", "40") == {"40"}


@pytest.mark.parametrize(
    ("slot", "values", "kind"),
    [
        ("has_patio", ["True", "False"], "boolean"),
        ("when", ["2019-03-02"], "date"),
        ("when", ["09:30", "23:59"], "time"),
        ("when", ["09:30", "24:10"], "text"),
        ("fare", ["12", "7.50"], "money"),
        ("guests", ["12", "7"], "number"),
        ("guests", ["12", "7.50"], "text"),
        ("guests", ["1" * 5000], "text"),
        ("anything", [], "text"),
    ],
)
def test_the_kind_of_a_slot_shows_in_its_values(slot: str, values: list[str], kind: Kind) -> None:
    assert kind_of(slot, values) == kind
    assert all(fits(kind, value) for value in values)
