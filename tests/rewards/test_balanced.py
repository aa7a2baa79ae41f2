from __future__ import annotations

import json
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.rewards.balanced import (
    BalancedReward,
    WordWeights,
    shared_values,
    spoken_share,
)
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.types import ToolCall
from agent_gym_env.values.words import words
from tests.timing import takes_less_than

TODAY = "2019-03-01"
TOOL = ToolSpec(
    name="Trains_1-FindTrains",
    service="Trains_1",
    intent="FindTrains",
    description="Find trains",
    transactional=False,
    arguments={},
    required=("to", "date"),
    defaults={"class": "Economy", "adults": "1", "pets": "dontcare"},
    result_slots=(),
)
# Of 7 utterances, all contain "the": weight 1. Three contain "train": ln(8 / 4) + 1.
REWARD = BalancedReward(7, {"the": 7, "train": 3}, {TOOL.name: TOOL})
TRAIN = log(2) + 1
UNKNOWN = log(8) + 1


def scored(text: str, *calls: ToolCall, target: Turn) -> Score:
    return REWARD.score(ClosedTurn(text, calls, target, TODAY))


def reply(text: str, *values: SpokenValue, due: RecordedCall | None = None) -> Turn:
    return Turn("", text, "Trains_1", due, values)


def recorded(arguments: dict[str, str], **forms: tuple[str, ...]) -> RecordedCall:
    return RecordedCall(TOOL.name, arguments, "success", "[]", forms)


def accuracy(due: RecordedCall, **made: object) -> float | None:
    target = reply("The train leaves.", due=due)
    return scored("", ToolCall(TOOL.name, made), target=target).components["tool_accuracy"]


def similarity(text: str, target: str) -> float:
    value = scored(text, target=reply(target)).components["response_similarity"]
    assert value is not None
    return value


def test_a_word_weighs_less_the_more_utterances_have_it() -> None:
    weights = WordWeights(7, {"the": 7, "train": 3})
    assert (weights[b"the"], weights[b"train"], weights[b"zeppelin"]) == (1, TRAIN, UNKNOWN)


def test_counts_beyond_the_number_of_utterances_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the 7 utterances"):
        WordWeights(7, {"the": 8})


def test_similarity_weighs_words() -> None:
    # Common: the. All: the, train, bus.
    assert similarity("the train", "The bus!") == pytest.approx(1 / (1 + TRAIN + UNKNOWN))


def test_similarity_counts_how_often_a_word_is_said() -> None:
    assert similarity("the the the", "the") == pytest.approx(1 / 3)
    assert similarity("the the train", "the train train") == pytest.approx(
        (1 + TRAIN) / (2 + 2 * TRAIN)
    )


@given(st.lists(st.sampled_from(["the", "train", "bus", "to", "Oslo"])))
def test_the_order_of_words_does_not_count_at_all(said: list[str]) -> None:
    shuffled = sorted(said, key=str.swapcase, reverse=True)
    assert similarity(" ".join(said), " ".join(shuffled)) == 1.0


@given(st.text(), st.text())
def test_similarity_is_a_share(text: str, other: str) -> None:
    assert 0 <= similarity(text, other) <= 1


def test_texts_without_words_are_alike() -> None:
    assert similarity("", "") == similarity("?", "!") == 1


def test_parts_that_do_not_apply_are_left_out_of_the_mean() -> None:
    score = scored("the", target=reply("the train"))
    assert score.components == {
        "response_similarity": pytest.approx(1 / (1 + TRAIN)),
        "slot_values": None,
        "tool_accuracy": None,
    }
    assert score.value == score.components["response_similarity"]


def test_every_part_that_applies_counts_the_same() -> None:
    target = reply("the Oslo train", SpokenValue("to", "Oslo"), due=recorded({"to": "Oslo"}))
    score = scored("Oslo", ToolCall(TOOL.name, {}), target=target)
    parts = {
        "response_similarity": pytest.approx(UNKNOWN / (1 + UNKNOWN + TRAIN)),
        "slot_values": 1.0,
        "tool_accuracy": 0.5,
    }
    assert score.components == parts
    assert score.value == pytest.approx((UNKNOWN / (1 + UNKNOWN + TRAIN) + 1 + 0.5) / 3)


def test_silence_scores_zero() -> None:
    target = reply("the Oslo train", SpokenValue("to", "Oslo"), due=recorded({"to": "Oslo"}))
    assert scored("", target=target).value == 0


def test_the_recorded_turn_scores_exactly_one() -> None:
    due = recorded({"to": "Oslo", "class": "Economy"})
    target = reply("Osloward, 3/10!", SpokenValue("to", "Oslo"), due=due)  # a span inside a word
    assert scored(target.text, ToolCall(TOOL.name, due.arguments), target=target).value == 1.0


def test_a_spurious_call_scores_zero_on_tools() -> None:
    score = scored("the train", ToolCall(TOOL.name), target=reply("the train"))
    assert score.components["tool_accuracy"] == 0
    assert score.value == 0.5


def test_a_missing_call_scores_zero_on_tools() -> None:
    target = reply("the train", due=recorded({"to": "Oslo"}))
    assert scored("the train", target=target).value == 0.5


def test_a_call_beside_the_right_one_halves_it() -> None:
    due = recorded({"to": "Oslo"})
    right = ToolCall(TOOL.name, {"to": "Oslo"})
    score = scored("", right, ToolCall("A-B"), target=reply("the", due=due))
    assert score.components["tool_accuracy"] == 0.5


@pytest.mark.parametrize(
    "date", ["2019-03-04", "next Monday", "March 4th", "4th of march", "3/4/2019"]
)
def test_an_argument_is_equal_in_any_form_of_its_value(date: str) -> None:
    assert accuracy(recorded({"date": "2019-03-04"}), date=date) == 1


def test_an_argument_is_equal_in_the_words_of_the_dialogue() -> None:
    due = recorded({"to": "Los Angeles", "date": "2019-03-04"}, to=("LA",))
    assert accuracy(due, to="l.a.", date="2019-03-04") == 1
    assert accuracy(due, to="San Diego", date="2019-03-04") == 0.75


@pytest.mark.parametrize("pets", [True, "true", "Yes"])
def test_a_boolean_is_equal_however_it_is_written(pets: object) -> None:
    assert accuracy(recorded({"pets": "True"}), pets=pets) == 1


@pytest.mark.parametrize("adults", [2, 2.0, "2", "two", "02"])
def test_a_number_is_equal_however_it_is_written(adults: object) -> None:
    assert accuracy(recorded({"adults": "2"}), adults=adults) == 1


@pytest.mark.parametrize(
    ("due", "made"),
    [
        ({}, {"class": "economy", "adults": 1, "pets": "dontcare"}),
        ({"class": "Economy", "adults": "1"}, {}),
        ({"class": "Economy"}, {"class": "dontcare"}),
        ({"class": "Economy", "adults": "1"}, {"adults": "one"}),
    ],
)
def test_an_optional_argument_at_its_default_equals_its_absence(
    due: dict[str, str], made: dict[str, object]
) -> None:
    assert accuracy(recorded({"to": "Oslo", **due}), to="Oslo", **made) == 1


def test_arguments_that_say_nothing_are_not_counted() -> None:
    # Names that count: to, class, pets; equal: to.
    due = recorded({"to": "Oslo", "class": "Business", "adults": "1"})
    assert accuracy(due, to="Oslo", pets="True") == pytest.approx(0.5 + 0.5 / 3)


def test_a_required_argument_counts_whatever_its_value() -> None:
    assert accuracy(recorded({"to": "dontcare"})) == 0.5


@pytest.mark.parametrize(
    "unit", ["a ", "1 ", "\u00e9", "word", "\ud800", "\u0130 ", " ", "train oslo ", "monday,", "x"]
)
def test_a_text_at_the_limit_is_scored_in_bounded_time(unit: str) -> None:
    text = (unit * 65536)[:65536]
    values = tuple(SpokenValue(slot, slot, ("2019-03-04", "x", "2")) for slot in "abcdefgh")
    target = reply("The train to Oslo", *values)
    assert takes_less_than(0.5, lambda: scored(text, target=target))
    score = scored(text, target=target)
    assert score.value is not None
    assert 0 <= score.value <= 1


@given(
    text=st.text(),
    target=st.text(),
    value=st.text(min_size=1),
    forms=st.lists(st.text(), max_size=3),
    made=st.dictionaries(
        st.sampled_from(["to", "class", "x"]), st.none() | st.text() | st.floats()
    ),
)
def test_any_turn_has_a_score(
    text: str, target: str, value: str, forms: list[str], made: dict[str, object]
) -> None:
    turn = reply(target, SpokenValue("to", value, tuple(forms)), due=recorded({"to": value}))
    score = scored(text, ToolCall(TOOL.name, made), target=turn)
    assert score.value is not None
    assert 0 <= score.value <= 1
    assert scored(target, ToolCall(TOOL.name, {"to": value}), target=turn).value == 1.0


# Slot values


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


def shared(text: str, *results: Any) -> list[tuple[str, str]]:
    """The slots and texts of the values that results and a reply share."""
    calls = [RecordedCall("search", {}, "success", json.dumps(each)) for each in results]
    target = Turn("", text, "", calls[0], (), tuple(calls[1:]))
    return [(value.slot, value.text) for value in shared_values(target, TODAY)]


FLIGHTS = {
    "flights": [{"id": "TP760", "price": 129.5, "seats": 3, "gate": "B", "day": "2019-03-08"}]
}


def test_results_and_reply_share_texts_and_numbers_at_any_depth() -> None:
    said = "Flight tp-760 for 129.50 on March 8th has 3 seats at gate B."
    assert shared(said, FLIGHTS) == [("id", "TP760"), ("price", "129.5"), ("day", "2019-03-08")]


def test_a_value_is_shared_once_and_by_all_calls_of_the_turn() -> None:
    assert shared("From Rome to Oslo.", {"a": "Rome", "b": ["ROME"]}, "Oslo") == [
        ("a", "Rome"), ("", "Oslo")
    ]  # fmt: skip


@pytest.mark.parametrize("result", [None, True, "", "true", {"a": [False, 7, "x", "Turin"]}, "--"])
def test_what_is_no_value_or_not_said_is_not_shared(result: Any) -> None:
    assert shared("True, 7 x -- is it.", result) == []


def test_only_the_first_thousand_values_of_results_count() -> None:
    deep: Any = "Oslo"
    for _ in range(500):
        deep = [deep]
    assert shared("In Oslo.", deep) == [("", "Oslo")]
    assert shared("In Oslo.", [f"{number} km" for number in range(1000)], "Oslo") == []


def test_without_annotation_the_values_of_results_can_take_the_place_of_spans() -> None:
    due = RecordedCall("search", {}, "success", json.dumps(FLIGHTS))
    target = reply("TP760 costs 129.50.", due=due)
    of_results = BalancedReward(7, {}, {}, values="results")
    wrong = ClosedTurn("AZ11 costs 129.50.", (ToolCall("search"),), target, TODAY)
    assert of_results.score(wrong).components["slot_values"] == 0.5
    right = ClosedTurn(target.text, (ToolCall("search"),), target, TODAY)
    assert of_results.score(right) == Score(
        1.0, {"response_similarity": 1.0, "slot_values": 1.0, "tool_accuracy": 1.0}
    )
    assert REWARD.score(wrong).components["slot_values"] is None


def test_annotated_values_go_before_those_of_results() -> None:
    due = RecordedCall("search", {}, "success", json.dumps(FLIGHTS))
    target = reply("TP760 costs 129.50.", SpokenValue("price", "129.50"), due=due)
    of_results = BalancedReward(7, {}, {}, values="results")
    turn = ClosedTurn("It costs 129.50.", (), target, TODAY)
    assert of_results.score(turn).components["slot_values"] == 1.0


def test_a_turn_without_calls_has_no_values_of_results() -> None:
    of_results = BalancedReward(7, {}, {}, values="results")
    turn = ClosedTurn("Bye.", (), reply("Goodbye."), TODAY)
    assert of_results.score(turn).components["slot_values"] is None


def test_an_unknown_source_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match="values must be one of annotated, results, not 'result'"):
        BalancedReward(7, {}, {}, values="result")  # type: ignore[arg-type]
