from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.corpus.task import RecordedCall, Turn
from agent_gym_env.rewards.base import ClosedTurn
from agent_gym_env.rewards.ground_truth import GroundTruthReward, jaccard
from agent_gym_env.types import ToolCall
from tests.timing import takes_less_than

DUE = RecordedCall("Trains_1-FindTrains", {"to": "Oslo", "adults": "2"}, "success", "[]")
REWARD = GroundTruthReward()


def score(text: str, *calls: ToolCall, target: str = "", due: RecordedCall | None = None) -> float:
    turn = ClosedTurn(text, calls, Turn("", target, "Trains_1", due), "2019-03-01")
    value = REWARD.score(turn).value
    assert value is not None
    return value


def accuracy(*calls: ToolCall, due: RecordedCall | None = DUE) -> float:
    return 2 * score("", *calls, target="words", due=due)


def call(name: str = DUE.name, **arguments: object) -> ToolCall:
    return ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("text", "other", "similarity"),
    [
        ("Book a table", "book THE table!", 0.5),  # book, table of a, book, table, the
        ("no no no", "no", 1.0),  # sets, not bags
        ("one two", "three", 0.0),
        ("", "three", 0.0),
        ("", "", 1.0),
        ("?!", "...", 1.0),  # no words on either side
        ("it's", "its", 0.0),
        ("Z\u00fcrich", "z\u00dcRICH", 1.0),
    ],
)
def test_similarity_is_the_share_of_common_words(text: str, other: str, similarity: float) -> None:
    assert jaccard(text, other) == similarity


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_a_share(text: str, other: str) -> None:
    assert 0 <= jaccard(text, other) == jaccard(other, text) <= 1


def test_a_turn_without_calls_pays_half_for_making_none() -> None:
    assert score("Book a table", target="book the table") == (0.5 + 1) / 2


def test_the_recorded_turn_scores_one() -> None:
    assert score("On time.", call(to="Oslo", adults="2"), target="On time.", due=DUE) == 1


def test_a_due_call_that_is_missing_scores_zero() -> None:
    assert accuracy() == 0


def test_a_call_that_is_not_due_scores_zero() -> None:
    assert accuracy(call(), due=None) == 0


def test_the_right_tool_without_arguments_earns_half() -> None:
    assert accuracy(call()) == 0.5


def test_another_tool_earns_nothing() -> None:
    assert accuracy(call("Trains_1-BuyTicket", to="Oslo", adults="2")) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"to": "Oslo"}, 0.75),  # 1 of 2 names
        ({"to": "Oslo", "adults": "3"}, 0.75),
        ({"to": "Oslo", "adults": "2", "class": "first"}, 0.5 + 0.5 * 2 / 3),
        ({"to": "  oSLO\n", "adults": 2}, 1.0),  # trimmed, any case, as strings
        ({"to": "Oslo", "adults": 2.0}, 0.75),  # "2.0" is another string
        ({"to": ["Oslo"], "adults": None}, 0.5),
    ],
)
def test_arguments_count_by_name_and_value(arguments: dict[str, object], expected: float) -> None:
    assert accuracy(ToolCall(DUE.name, arguments)) == expected


def test_a_boolean_is_compared_as_python_writes_it() -> None:
    due = RecordedCall("A-B", {"pets": "True"}, "success", "[]")
    assert accuracy(ToolCall("A-B", {"pets": True}), due=due) == 1


def test_a_list_is_compared_as_json() -> None:
    due = RecordedCall("A-B", {"seats": '["1a", null]'}, "success", "[]")
    assert accuracy(ToolCall("A-B", {"seats": ["1a", None]}), due=due) == 1


def test_of_several_calls_the_best_counts_divided_by_their_number() -> None:
    right, poor = call(to="Oslo", adults="2"), call()
    assert accuracy(poor, right) == 1 / 2
    assert accuracy(poor, poor, poor) == 0.5 / 3


def test_two_calls_without_arguments_are_equal() -> None:
    due = RecordedCall("A-B", {}, "success", "[]")
    assert accuracy(ToolCall("A-B"), due=due) == 1


@pytest.mark.parametrize("unit", ["a ", "\u00e9", "word", "\ud800", "\u0130 ", " "])
def test_a_text_at_the_limit_is_scored_in_bounded_time(unit: str) -> None:
    text = (unit * 65536)[:65536]
    assert takes_less_than(0.5, lambda: score(text, target="Two words"))
    assert 0 <= score(text, target="Two words") <= 1
