from __future__ import annotations

from random import Random

import pytest

from agent_gym_env.corpus.sgd import Intent, Service, Slot
from agent_gym_env.synthesis.entities import ServiceEntry
from agent_gym_env.synthesis.wording import Wording
from tests.synthesis.bakery import BAKERY, BAKERY_ENTRY

STATED = Wording(BAKERY, BAKERY_ENTRY)
MADE = Wording(BAKERY, ServiceEntry(rows=BAKERY_ENTRY.rows))


def _flags(*names: str) -> Wording:
    slots = [Slot(name, "", True, ["True", "False"]) for name in names]
    return Wording(Service("Flags_1", "", slots, []), ServiceEntry())


def test_stated_words_are_used() -> None:
    assert STATED.fragment("flavor", "plum", Random(1)) == "with {flavor} in it"
    assert STATED.statement("has_nuts", "False", Random(1)) == "it is free of nuts"


def test_words_are_made_from_names_where_none_are_stated() -> None:
    assert MADE.label("cake_name") == "cake name"
    assert not MADE.has_fragment("flavor", "plum")
    assert MADE.wish("flavor", "plum") == "the flavor should be {flavor}"
    assert MADE.statement("cake_name", "Plum Pie", Random(1)) == "the cake name is {cake_name}"
    assert "flavor" in MADE.request("flavor", Random(1))


def test_days_and_times_have_their_prepositions_without_an_entry() -> None:
    assert MADE.fragment("pickup_date", "2019-03-02", Random(1)) == "on {pickup_date}"
    assert MADE.fragment("pickup_time", "09:30", Random(1)) == "at {pickup_time}"


@pytest.mark.parametrize(
    ("slot", "question", "yes", "no"),
    [
        ("has_patio", "does it have patio", "it has patio", "it does not have patio"),
        ("is_vegan", "is it vegan", "it is vegan", "it is not vegan"),
        ("serves_wine", "does it serve wine", "it serves wine", "it does not serve wine"),
        ("pets_allowed", "are pets allowed", "pets are allowed", "pets are not allowed"),
        ("free_entry", "is there free entry", "there is free entry", "there is no free entry"),
    ],
)
def test_a_flag_is_asked_and_told_by_its_name(slot: str, question: str, yes: str, no: str) -> None:
    wording = _flags(slot)
    assert wording.question(slot, Random(1)) == question
    assert wording.statement(slot, "True", Random(1)) == yes
    assert wording.statement(slot, "False", Random(1)) == no


@pytest.mark.parametrize(
    ("name", "description", "deed"),
    [
        ("OrderCake", "Order a cake", "order a cake"),
        ("FindCakes", "Search for cakes.", "search for cakes"),
        ("FindCakes", "A service that is able to find cakes", "find cakes"),
        ("FindCakes", "Find cakes " + "of all kinds " * 9, "find cakes"),
        ("CheckETA", "", "check eta"),
        ("FindCakes", "Find [cakes] {x}", "find cakes x"),
    ],
)
def test_a_deed_is_the_description_where_it_is_one(name: str, description: str, deed: str) -> None:
    service = Service("Any_1", "", [], [Intent(name, description, False, [], {}, [])])
    assert Wording(service, ServiceEntry()).deed(name, Random(1)) == deed


def test_a_row_is_presented_by_a_sentence_that_says_what_the_next_intent_needs() -> None:
    slots = STATED.offered_slots("FindCakes", {"cake_name"}, Random(1))
    assert slots == ["cake_name", "price"]
    assert STATED.offer("FindCakes", slots, Random(1)) == "the {cake_name} costs {price}"
    assert STATED.offered_slots("FindCakes", {"town"}, Random(1)) == ["town"]
    assert STATED.offer("FindCakes", ["town"], Random(1)) is None


def test_what_was_found_is_counted_in_its_noun() -> None:
    assert STATED.counted("FindCakes", 1) == "1 cake"
    assert STATED.counted("FindCakes", 4) == "4 cakes"
