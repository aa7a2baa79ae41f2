from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.corpus.task import SpokenValue
from agent_gym_env.rewards.balanced import spoken_share
from agent_gym_env.values.words import words

TODAY = "2019-03-01"


def says(text: str, value: str, *forms: str) -> bool:
    return spoken_share([SpokenValue("slot", value, forms)], text, words(text), TODAY) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is at the Blue Door.", "blue door"),
        ("It is at the Blue-Door!", "Blue Door"),
        ("Try the bluedoor", "Blue Door"),
        ("Try the Blue Door", "Bluedoor"),
        ("Call (408) 971 8523.", "408-971-8523"),
        ("Call 4089718523.", "408-971-8523"),
        ("Adam's is open", "Adam's"),
        ("Z\u00dcRICH it is", "Z\u00fcrich"),
    ],
)
def test_a_value_is_said_by_its_words(text: str, value: str) -> None:
    assert says(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on the 4th of March", "March 4th"),
        ("on 2019-03-04", "next Monday"),
        ("at half past six in the evening", "6:30 pm"),
        ("at 18:30", "6:30 PM"),
        ("that is 1630 dollars", "$1,630"),
        ("rated 3.70", "3.7"),
        ("for two people", "2"),
        ("for 2", "two"),
    ],
)
def test_a_date_a_time_or_a_number_is_said_in_any_form(text: str, value: str) -> None:
    assert says(text, value)


def test_a_value_is_said_by_a_form_of_the_annotation() -> None:
    assert says("to L.A.", "Los Angeles", "LA")
    assert not says("to L.A.", "Los Angeles")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", "1"),
        ("for 10 people", "1"),
        ("for 2 people", "1"),
        ("at 7:30", "730"),
        ("at 6:30 am", "6:30 pm"),
        ("at the blue or the green door", "Blue Door"),
        ("in Osloward", "Oslo"),
        ("under bluedoors", "Blue Door"),
        ("on March 5th", "March 4th"),
        ("Call 408-971-8524", "408-971-8523"),
    ],
)
def test_a_value_is_not_said_by_parts_of_other_words(text: str, value: str) -> None:
    assert not says(text, value)


def test_a_boolean_form_is_not_a_way_to_say_a_value() -> None:
    assert not says("yes, true", "free of charge", "True")
    assert says("it is free of charge", "free of charge", "True")


def test_the_share_is_of_all_values() -> None:
    values = [SpokenValue("to", "Oslo"), SpokenValue("date", "March 4th"), SpokenValue("n", "3")]
    text = "to oslo on 4 March"
    assert spoken_share(values, text, words(text), TODAY) == pytest.approx(2 / 3)


def test_a_value_is_not_looked_for_beyond_the_limit() -> None:
    assert not says("word " * 5000 + "Oslo", "Oslo")


@given(st.text(), st.text(min_size=1), st.text())
def test_a_text_says_every_run_of_its_words(before: str, value: str, after: str) -> None:
    text = f"{before} {value} {after}"
    assert says(text, value) or not words(value)


@pytest.mark.parametrize("text", ["It leaves at sevenpm", "It leaves at sevenpm, for 3x less."])
def test_a_time_is_said_whatever_else_is(text: str) -> None:
    assert says(text, "7 pm")


SAID = st.sampled_from(
    [
        ("Blue Door", "the Blue-Door"),
        ("Caf\u00e9 7", "CAF\u00c9 7"),
        ("408-971-8523", "(408) 971 8523"),
        ("True", "true"),
        ("19:00", "sevenpm"),
        ("2019-03-04", "next monday"),
        ("3", "three"),
    ]
)
WORDS = st.lists(st.from_regex(r"[b-df-hj-np-tv-z]{2,6}|3x", fullmatch=True), max_size=4)
UNRELATED = WORDS.map(" ".join).filter(lambda text: "pm" not in text and "th" not in text)


@given(SAID, UNRELATED, UNRELATED)
def test_what_is_said_stays_said_between_unrelated_words(
    said: tuple[str, str], before: str, after: str
) -> None:
    value, text = said
    assert says(text, value)
    assert says(f"{before}, {text} ({after})", value)
