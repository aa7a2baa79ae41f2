from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.corpus.sgd import Intent, Service
from agent_gym_env.corpus.tool_specs import tool_specs
from agent_gym_env.tools.validation import ToolCatalogue
from tests.corpus.cafes import BOOK, FIND, TOOLS

CATALOGUE = ToolCatalogue(TOOLS)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON_VALUES = (
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2)
)


def unresolved(name: str, catalogue: ToolCatalogue = CATALOGUE) -> str:
    problem = catalogue.resolve(name)
    assert isinstance(problem, str)
    return problem


def problem(tool: str = FIND, **arguments: Any) -> str | None:
    return CATALOGUE.problem(TOOLS[tool], arguments)


def test_a_full_name_is_a_tool() -> None:
    assert CATALOGUE.resolve(FIND) is TOOLS[FIND]


def test_an_intents_name_alone_is_a_tool_where_only_one_service_has_it() -> None:
    assert CATALOGUE.resolve("BookTable") is TOOLS[BOOK]


def test_an_intents_name_that_two_services_have_lists_both() -> None:
    assert unresolved("FindCafe") == (
        "ambiguous_tool: 'FindCafe' may be any of Cafes_1-FindCafe, Pubs_1-FindCafe; "
        "give the full name"
    )


def test_an_unknown_name_lists_what_is_on_offer() -> None:
    assert unresolved("FindTea") == (
        "unknown_tool: there is no tool 'FindTea'; on offer: "
        "Cafes_1-FindCafe, Cafes_1-BookTable, Pubs_1-FindCafe, Pubs_1-FindQuiz"
    )


def test_among_many_tools_the_close_ones_are_named() -> None:
    intents = [
        Intent(f"{verb}{thing}", "", False, [], {}, [])
        for verb in ("Find", "Book", "Cancel")
        for thing in ("Boat", "Train", "Horse", "Bicycle", "Balloon")
    ]
    many = ToolCatalogue(tool_specs([Service("Travel_9", "", [], intents)]))
    assert unresolved("Travel_9-CancelBalon", many).endswith(
        "did you mean Travel_9-CancelBalloon, Travel_9-CancelBoat, Travel_9-CancelTrain?"
    )
    assert "did you mean FindHorse" in unresolved("FindHorses", many)
    assert unresolved("zzz", many).endswith("Travel_9-CancelTrain and 3 more")


def test_without_tools_none_is_on_offer() -> None:
    assert unresolved("x", ToolCatalogue({})).endswith("no tool is on offer")


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "Lund"},
        {"city": "Lund", "price": "dear", "size": "4"},
        {"city": "Lund", "price": "dontcare"},
        {"city": "Lund", "price": "Mid Range"},
        {"city": "Lund", "outdoors": True, "size": 4},
        {"city": "Lund", "outdoors": "yes", "size": 4.0},
        {"city": 12},
    ],
)
def test_arguments_that_the_schema_allows_are_no_problem(arguments: dict[str, Any]) -> None:
    assert problem(**arguments) is None


def test_a_missing_required_argument_is_named() -> None:
    assert problem(BOOK, city="Lund") == (
        "missing_argument: Cafes_1-BookTable was called without name, time, which it requires"
    )


def test_an_unknown_argument_is_told_which_there_are() -> None:
    assert problem(city="Lund", town="Lund") == (
        "unknown_argument: Cafes_1-FindCafe has no argument 'town'; "
        "it takes city, price, outdoors, size"
    )


def test_a_value_outside_a_categorical_slots_values_is_told_those() -> None:
    assert problem(city="Lund", price="free") == (
        "invalid_value: price is 'free'; expected one of cheap, mid-range, dear, dontcare"
    )


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ([1], "a list"), ({}, "an object")])
def test_a_value_that_is_no_scalar_is_refused(value: object, kind: str) -> None:
    assert problem(city=value) == (
        f"invalid_value: city is {kind}; expected a text, a number or a boolean"
    )


def test_no_preference_is_no_value_of_a_required_argument() -> None:
    assert problem(city="dontcare") == (
        "invalid_value: city is required, 'dontcare' is for optional arguments only"
    )


def test_a_required_categorical_argument_takes_no_dontcare() -> None:
    tools = tool_specs(
        [
            Service(
                "S",
                "",
                [TOOLS[FIND].arguments["price"]],
                [Intent("Find", "", False, ["price"], {}, [])],
            )
        ]
    )
    refused = ToolCatalogue(tools).problem(tools["S-Find"], {"price": "dontcare"})
    assert refused is not None
    assert refused.startswith("invalid_value: price is required")


@given(st.text() | st.characters(categories=["Cs"]).map(lambda c: c * 70_000))
def test_whatever_name_is_sent_the_answer_is_short_ascii(name: str) -> None:
    answer = CATALOGUE.resolve(name)
    assert not isinstance(answer, str) or (answer.isascii() and len(answer) < 1000)


@given(st.dictionaries(st.sampled_from(["city", "price"]) | st.text(), JSON_VALUES, max_size=3))
def test_whatever_arguments_are_sent_the_answer_is_short_ascii(arguments: dict[str, Any]) -> None:
    answer = problem(FIND, **{"city": "Lund"} | arguments)
    codes = ("missing_argument", "unknown_argument", "invalid_value")
    if answer is not None:
        assert answer.startswith(codes)
        assert answer.isascii()
        assert len(answer) < 1000


def test_a_number_too_long_to_write_is_refused_in_short() -> None:
    answer = problem(city="Lund", price=10**5000)
    assert answer is not None
    assert answer.startswith("invalid_value: price is '")
