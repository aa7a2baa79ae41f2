from __future__ import annotations

import re
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.corpus.sgd import Dialogue
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.values.equality import canonical, is_form, same_value, stated_arguments
from agent_gym_env.values.patterns import MAX_MENTIONS, WORDS, find_values
from tests.timing import takes_less_than, thread_seconds

TODAY = "2019-03-01"  # a Friday

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("today", "2019-03-01"),
        ("Later today", "2019-03-01"),
        ("TOMORROW", "2019-03-02"),
        ("day after tomorrow", "2019-03-03"),
        ("the day after tomorrow", "2019-03-03"),
        ("this Saturday", "2019-03-02"),
        ("Sunday this week", "2019-03-03"),
        ("friday", "2019-03-01"),
        ("next monday", "2019-03-04"),
        ("next Friday", "2019-03-08"),
        ("Monday, next week", "2019-03-04"),
        ("March 4th", "2019-03-04"),
        ("mArch  4", "2019-03-04"),
        ("March 10th, 2019", "2019-03-10"),
        ("Mar. 4", "2019-03-04"),
        ("4th of March", "2019-03-04"),
        ("the 4th of march 2020", "2020-03-04"),
        ("4 March", "2019-03-04"),
        ("the 7th", "2019-03-07"),
        ("7th of this month", "2019-03-07"),
        ("2019-3-4", "2019-03-04"),
        ("3/4/2019", "2019-03-04"),
        ("February 28th", "2020-02-28"),  # the next one
        ("February 29th", "2020-02-29"),
    ],
)
def test_a_date_is_read_relative_to_today(said: str, day: str) -> None:
    assert canonical(said, TODAY) == day


@pytest.mark.parametrize(
    ("today", "said", "day"),
    [
        ("2024-12-30", "tomorrow", "2024-12-31"),
        ("2024-12-30", "day after tomorrow", "2025-01-01"),
        ("2024-12-30", "the 3rd", "2025-01-03"),
        ("2024-01-31", "the 30th", "2024-03-30"),  # no 30th in February
        ("2024-12-30", "January 2nd", "2025-01-02"),
        ("2024-12-30", "this monday", "2024-12-30"),
        ("2024-12-30", "this sunday", "2025-01-05"),
        ("2024-12-30", "next monday", "2025-01-06"),
        ("2024-12-29", "next monday", "2024-12-30"),  # said on a Sunday
    ],
)
def test_dates_follow_another_today(today: str | None, said: str, day: str) -> None:
    assert canonical(said, today) == day


@pytest.mark.parametrize("said", ["February 30th", "2019-13-01", "the 32nd", "31st of June"])
def test_a_day_that_does_not_exist_is_compared_as_text(said: str) -> None:
    key = canonical(said, TODAY)
    assert key == re.sub(r"[^a-z0-9]", "", said.lower())


def test_a_day_beyond_the_calendar_is_compared_as_text() -> None:
    assert canonical("tomorrow", "9999-12-31") == "tomorrow"


@pytest.mark.parametrize(
    ("said", "clock"),
    [
        ("6:30 pm", "18:30"),
        ("6:30PM", "18:30"),
        ("6.30 p.m.", "18:30"),
        ("18:30", "18:30"),
        ("18:30:00", "18:30"),
        ("9:05 am", "09:05"),
        ("11 AM", "11:00"),
        ("12 pm", "12:00"),
        ("12 am", "00:00"),
        ("five pm", "17:00"),
        ("half past 6 in the evening", "18:30"),
        ("half past six in the evening", "18:30"),
        ("quarter to 5 in the afternoon", "16:45"),
        ("quarter to 1 in the afternoon", "12:45"),
        ("quarter to 12 in the morning", "11:45"),
        ("quarter past 11 in the morning", "11:15"),
        ("half past 12 in the afternoon", "12:30"),
        ('5 o"clock in the evening', "17:00"),
        ("8 o'clock in the morning", "08:00"),
        ("afternoon 12", "12:00"),
        ("evening, 4:30", "16:30"),
        ("morning 7:15", "07:15"),
        ("night 9:15", "21:15"),
        ("10 in the night", "22:00"),
        ("2 in the night", "02:00"),
        ("twelve in the afternoon", "12:00"),
        ("noon", "12:00"),
        ("midnight", "00:00"),
        ("24:00", "00:00"),
    ],
)
def test_a_time_of_day_has_one_key(said: str, clock: str) -> None:
    assert canonical(said, TODAY) == clock


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("3.70", "3.7"),
        ("3.0", "3"),
        (3.70, "3.7"),
        (4.0, "4"),
        (4, "4"),
        ("007", "7"),
        ("0", "0"),
        ("0.50", "0.5"),
        ("$1,630", "1630"),
        ("$22,309.73", "22309.73"),
        ("1,420 bucks", "1420"),
        ("780 dollars", "780"),
        ("-5", "-5"),
        (-5, "-5"),
        ("two", "2"),
        ("Twenty-five", "25"),
        ("one hundred and five", "105"),
        ("fifteen hundred", "1500"),
        ("one thousand three hundred and thirty dollars", "1330"),
        ("nine hundred and ninety-nine thousand and one", "999001"),
        ("zero", "0"),
    ],
)
def test_a_number_has_one_key(said: object, number: str) -> None:
    assert canonical(said, TODAY) == number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("408-971-8523", "408 971 8523"),
        ("408-971-8523", "(408) 971.8523"),
        ("408-971-8523", "4089718523"),
        ("020 7276 5000", "02072765000"),
        ("Park View Apartments", "parkview apartments"),
        ("Fish & Chips!", "fish chips"),
        ("cafe\u0301", "CAF\u00c9"),
        (True, "True"),
        (True, "yes"),
        ("false", False),
        ("dontcare", "don't care"),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
    ],
)
def test_spelling_does_not_count(one: object, other: object) -> None:
    assert same_value(one, other, TODAY)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "10"),
        ("5", "-5"),
        ("3.7", "37"),
        ("7:30", "730"),
        (True, 1),
        (True, False),
        (None, ""),
        ("!", "?"),
        ("March 4th", "March 5th"),
        ("6:30 am", "6:30 pm"),
        ("\u0915\u093f", "\u0915\u0940"),  # Hindi ki and kee: the vowel signs are marks
        (["a"], ["b"]),
    ],
)
def test_different_values_have_different_keys(one: object, other: object) -> None:
    assert not same_value(one, other, TODAY)


@given(JSON_VALUES)
def test_every_json_value_has_a_key(value: object) -> None:
    assert isinstance(canonical(value, TODAY), str)


def test_values_beyond_all_bounds_have_a_key() -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**5000, "\ud800", "a" * 10**6, float("nan"), float("inf"), "1" * 10**6):
        assert isinstance(canonical(value, TODAY), str)


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(0, 400))
def test_a_date_is_read_back_from_every_way_to_write_it(today: date, days: int) -> None:
    day = today + timedelta(days=days % 365)
    month = "January February March April May June July August September October November December"
    name = month.split()[day.month - 1]
    said = [f"{name} {day.day}", f"{day.day} {name} {day.year}", f"{day:%m/%d/%Y}"]
    if day.month != 2 or day.day != 29:
        assert {canonical(form, today.isoformat()) for form in said} == {day.isoformat()}


def test_values_are_found_where_they_stand() -> None:
    text = "A table for two on March 4th at half past 6 in the evening, $1,630.50 in all."
    found = find_values(text, TODAY)
    assert [(text[v.start : v.end], v.kind, v.canonical) for v in found] == [
        ("two", "number", "2"),
        ("March 4th", "date", "2019-03-04"),
        ("half past 6 in the evening", "time", "18:30"),
        ("$1,630.50", "number", "1630.5"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "408-971-8523",
        "10.0.0.1",
        "a4",
        "4x",
        "someone",
        "fourth",
        "the 5th Avenue",
        "12:345",
        "4th",
    ],
)
def test_no_value_is_found_inside_something_else(text: str) -> None:
    assert find_values(text, TODAY) == []


def test_a_found_value_keeps_its_place_behind_letters_that_grow_in_lower_case() -> None:
    text = "\u0130\u0130 at 7 PM"
    (found,) = find_values(text, TODAY)
    assert text[found.start : found.end] == "7 PM"


@given(st.text(alphabet="0123456789 -:,./$abcdefhilmnoprstwy'\u00e9"))
def test_a_found_value_is_what_its_text_alone_means(text: str) -> None:
    end = 0
    for found in find_values(text, TODAY):
        assert found.start >= end
        assert found.canonical == canonical(text[found.start : found.end], TODAY)
        assert found.canonical == canonical(found.canonical, TODAY)
        end = found.end


# What is found for one value does not depend on words that have nothing to do with it.

TIMES = st.one_of(
    st.tuples(
        st.sampled_from(["one", "two", "seven", "TWELVE", "1", "7", "07", "12"]),
        st.sampled_from(["pm", " PM", " a.m.", " in the morning", " at night", " o'clock"]),
    ).map("".join),
    st.sampled_from(["7:30", "17:45", "07:05:00", "noon", "half past sevenpm", "evening 6:30"]),
)
DATES = st.sampled_from(
    [
        "today", "Tomorrow", "day after tomorrow", "next friday", "this Monday", "friday next week",
        "2019-03-04", "3/4/2019", "the 7th", "7th of this month", "later today", "March 4th",
        "the 12th of may", "4 Dec. 2020", "jun 30",
    ]
)  # fmt: skip
NUMBERS = st.integers(0, 99_999).map(str) | st.sampled_from(
    ["-5", "$12.50", "twenty-five", "two hundred", "three thousand and twelve", "1,200", "zero"]
)
RELATED = frozenset(
    [
        "a",
        "p",
        "am",
        "pm",
        "o",
        "clock",
        "oclock",
        "to",
        "past",
        "half",
        "quarter",
        "at",
        "in",
        "the",
        "and",
        "of",
        "hundred",
        "thousand",
        "dollar",
        "dollars",
        "buck",
        "bucks",
        "usd",
        "street",
        "avenue",
        "floor",
        "this",
        "next",
        "week",
        "month",
        "later",
        "day",
        "after",
        "morning",
        "afternoon",
        "evening",
        "night",
        "st",
        "nd",
        "rd",
        "th",
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
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ]
)
"""Words that change the value of the word next to them."""

UNRELATED = st.one_of(
    st.from_regex(r"[A-Za-z\u00e9\u00df]{1,8}", fullmatch=True),
    st.sampled_from(["3x", "x3", "someone", "often", "money", "25:30", "408-971-8523"]),
).filter(lambda word: word.lower() not in RELATED and not word.lower().startswith(tuple(WORDS)))
SEPARATORS = st.sampled_from([" ", ", ", ". ", "\n", "! ", " - ", "  ", " (", ") "])


@given(TIMES | DATES | NUMBERS, st.lists(UNRELATED), SEPARATORS, st.lists(UNRELATED), SEPARATORS)
def test_a_value_is_found_whatever_unrelated_words_stand_around_it(
    said: str, before: list[str], first: str, after: list[str], second: str
) -> None:
    alone = {found.canonical for found in find_values(said, TODAY)}
    assert alone
    text = f"{' '.join(before)}{first}{said}{second}{' '.join(after)}"
    assert alone <= {found.canonical for found in find_values(text, TODAY)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at sevenpm", ["19:00"]),
        ("at sevenpm, 3x", ["19:00"]),
        ("HALF PAST SEVENPM", ["19:30"]),
        ("nineo'clock", ["09:00"]),
        ("It will be colder (-5 at night).", ["-5"]),
        ("september 31 people came", ["31"]),  # a day that no month has
    ],
)
def test_a_value_is_found_as_it_is_said(text: str, expected: list[str]) -> None:
    assert [found.canonical for found in find_values(text, TODAY)] == expected


def test_no_more_values_are_found_than_promised() -> None:
    assert len(find_values("1 " * 10_000, TODAY)) == MAX_MENTIONS


@pytest.mark.parametrize(
    "unit",
    [
        "1", "1 ", "1,", "111,", "1-", "1:", "-", "$", "$ ", " ", "a", "a ", "\u00e9", "one x ",
        "twenty-x ", "half past ", "quarter   to  ", "next ", "day after ", "march ", "mar. ",
        "the 4x ", "12:30 in the ", "night ", "one hundred and x ", "2019-", "monday,",
    ],
)  # fmt: skip
def test_searching_takes_linear_time(unit: str) -> None:
    def search(characters: int) -> None:
        text = (unit * characters)[:characters]
        find_values(text, TODAY)
        canonical(text, TODAY)

    search(1000)
    # 64 times the text: quadratic work would take 4,096 times as long. Generous to a busy machine.
    short = min(thread_seconds(lambda: search(1024)) for _ in range(5))
    assert takes_less_than(min(1, 0.02 + 64 * 8 * short), lambda: search(65536))


@pytest.mark.long
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_real_values_equal_their_canonical_form_and_no_other(sgd_path: Path, split: str) -> None:
    """The figures of docs/results/rewards.md; run with ``-s`` to see them."""
    agreed: dict[str, list[bool]] = defaultdict(list)
    meanings: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for service, slot, said, meant in _value_pairs(sgd_path, split):
        agreed[_kind(meant)].append(same_value(said, meant, TODAY))
        meanings[service, slot, canonical(meant, TODAY)].add(meant)
    shares = {kind: sum(equal) / len(equal) for kind, equal in sorted(agreed.items())}
    confused = [values for values in meanings.values() if len({v.lower() for v in values}) > 1]
    print(f"\n{split}: " + ", ".join(f"{k} {s:.4%} of {len(agreed[k])}" for k, s in shares.items()))
    print(f"{len(confused)} of {len(meanings)} keys have more than one value: {confused}")
    assert shares["date"] == shares["number"] == 1
    assert shares["time"] >= 0.9995  # "12 pm" is 24:00 in nine annotations of train
    assert len(confused) <= 1  # a name with and without a full stop


def _kind(meant: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", meant):
        return "date"
    if re.fullmatch(r"\d\d:\d\d", meant):
        return "time"
    return "number" if re.fullmatch(r"[\d.]+", meant) else "text"


def _value_pairs(path: Path, split: str) -> list[tuple[str, str, str, str]]:
    decode = msgspec.json.Decoder(list[Dialogue]).decode
    with open_source(path) as source:
        dialogues = [d for shard in source.shards(split) for d in decode(source.read(shard))]
    return [
        (frame.service, action.slot, said, meant)
        for dialogue in dialogues
        for turn in dialogue.turns
        for frame in turn.frames
        for action in frame.actions
        if action.slot
        for said, meant in zip(action.values, action.canonical_values, strict=True)
    ]


@pytest.mark.parametrize(
    ("value", "expected", "forms"),
    [
        ("Lund", "Lund", ()),
        (" lund", "Lund", ()),
        ("tomorrow", "2019-03-02", ()),
        (True, "True", ()),
        (4.0, "4", ()),
        ("LA", "Los Angeles", ("LA", "City of Angels")),
    ],
)
def test_a_value_equals_every_form_of_itself(
    value: object, expected: str, forms: tuple[str, ...]
) -> None:
    assert is_form(value, expected, forms, TODAY)


@pytest.mark.parametrize("value", ["Malmo", ["Lund"], {"Lund": "Lund"}, None, ""])
def test_another_value_and_a_list_of_the_value_are_no_forms(value: object) -> None:
    assert not is_form(value, "Lund", ("lund",), TODAY)


def test_an_optional_argument_at_its_default_or_without_preference_is_not_stated() -> None:
    defaults = {"size": "2", "price": "dontcare", "day": "2019-03-01"}
    arguments = {"city": "dontcare", "size": 2, "price": "dontcare", "day": "today"}
    assert stated_arguments(arguments, defaults, TODAY) == {"city": "dontcare"}


def test_an_optional_argument_at_another_value_is_stated() -> None:
    assert stated_arguments({"size": "4"}, {"size": "2"}, TODAY) == {"size": "4"}
