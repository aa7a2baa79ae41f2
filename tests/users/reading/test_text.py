"""Values, sentences and features of an agent's text."""

from __future__ import annotations

import pytest

from agent_gym_env.users.reading.text import (
    KnownValues,
    ngrams,
    sentences_of,
    tokens_of,
    without_values,
)

TODAY = "2019-03-01"


def _known() -> KnownValues:
    known = KnownValues(TODAY)
    known.add("city", "San Jose")
    known.add("restaurant_name", "The Fish Market")
    known.add("date", "2019-03-08")
    known.add("time", "17:30")
    known.add("party_size", "4")
    known.add("has_live_music", "True")
    known.add("city_of_event", "New York", ["NYC"])
    return known


def _found(text: str) -> list[tuple[str, str, set[str]]]:
    return [
        (text[value.start : value.end], value.key, set(value.slots))
        for value in _known().find(text, tokens_of(text))
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A table in San Jose?", [("San Jose", "sanjose", {"city"})]),
        ("SAN JOSE", [("SAN JOSE", "sanjose", {"city"})]),
        ("I like fish market.", [("fish market", "thefishmarket", {"restaurant_name"})]),
        ("at half past five pm", [("half past five pm", "17:30", {"time"})]),
        ("on March 8th", [("March 8th", "2019-03-08", {"date"})]),
        ("for 4 people, 2 rooms", [("4", "4", {"party_size"}), ("2", "2", set())]),
        ("in NYC", [("NYC", "newyork", {"city_of_event"})]),
        ("True, it has music", []),
        ("", []),
    ],
)
def test_values_are_found_with_the_slots_that_are_known_to_have_them(
    text: str, found: list[tuple[str, str, set[str]]]
) -> None:
    assert _found(text) == found


def test_a_time_is_not_read_as_the_number_that_begins_it() -> None:
    known = KnownValues(TODAY)
    known.add("party_size", "6")
    known.add("time", "18:00")
    text = "6 pm for 6"
    assert [v.key for v in known.find(text, tokens_of(text))] == ["18:00", "6"]


def test_values_are_replaced_by_their_kinds() -> None:
    text = "San Jose on March 8th at 5:30 pm for 4"
    bare = without_values(text, _known().find(text, tokens_of(text)))
    assert bare == "xname on xdate at xtime for xnumber"


def test_a_copy_learns_on_its_own() -> None:
    known = _known()
    copied = known.copy()
    copied.add("city", "Fresno")
    assert known.find("Fresno", tokens_of("Fresno")) == []
    assert [v.key for v in copied.find("Fresno", tokens_of("Fresno"))] == ["fresno"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello. How are you?", ["Hello.", "How are you?"]),
        ("It leaves at 5 a.m. on Monday", ["It leaves at 5 a m  on Monday"]),
        ("It costs 4.5 dollars! Fine", ["It costs 4 5 dollars!", "Fine"]),
        ("- city\n- date", ["- city", "- date"]),
        ("", []),
        ("...", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [" ".join(s.split()) for s in sentences_of(text)] == [
        " ".join(s.split()) for s in sentences
    ]


def test_features_do_not_depend_on_case_or_the_kind_of_apostrophe() -> None:
    assert ngrams("What\u2019s the City?").tolist() == ngrams("what's the city?").tolist()
    assert ngrams("the city").tolist() != ngrams("city the").tolist()
