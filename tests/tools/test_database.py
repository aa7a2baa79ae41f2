from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.entities import EntityTable
from agent_gym_env.tools.database import Database
from agent_gym_env.types import ToolResult
from benchmarks.tool_answers import measure
from tests.corpus.cafes import BOOK, FIND, TOOLS, Row, cafe, entities

TODAY = "2019-03-01"
QUIZ = "Pubs_1-FindQuiz"
ADA, BO = cafe("Ada"), cafe("Bo", price="dear", phone="040-9")


def answer(table: EntityTable, tool: str = FIND, **arguments: Any) -> ToolResult:
    return Database(TOOLS, table).answer(TOOLS[tool], arguments, TODAY)


def rows(table: EntityTable, tool: str = FIND, **arguments: Any) -> list[Row]:
    return [dict(row) for row in answer(table, tool, **arguments).rows()]


def test_a_query_is_answered_with_the_rows_that_fit() -> None:
    table = entities((FIND, [ADA, BO]))
    assert rows(table, city="Lund", price="dear") == [BO]
    assert answer(table, city="Lund").status == "success"


def test_a_query_without_rows_fails_with_an_empty_list() -> None:
    nothing = answer(entities((FIND, [ADA])), city="Ystad")
    assert (nothing.status, nothing.rows()) == ("failure", [])


def test_arguments_are_understood_however_they_are_written() -> None:
    table = entities((FIND, [ADA, BO]))
    assert rows(table, city=" lund", price="DEAR", outdoors=True, size=2.0) == [BO]


def test_no_preference_filters_nothing() -> None:
    assert rows(entities((FIND, [ADA, BO])), city="Lund", price="dontcare") == [ADA, BO]


def test_an_argument_left_out_stands_for_its_default() -> None:
    two, four = cafe("Ada", size="2"), cafe("Bo", size="4")
    table = entities((FIND, [two, four]))
    assert rows(table, city="Lund") == [two]
    assert rows(table, city="Lund", size="dontcare") == [two, four]


def test_where_nothing_is_on_time_what_is_within_half_an_hour_is_found() -> None:
    early, late = {"name": "Early", "time": "19:30"}, {"name": "Late", "time": "20:30"}
    table = entities((QUIZ, [early]), (QUIZ, [late]))
    assert rows(table, QUIZ, time="19:30") == [early]
    assert rows(table, QUIZ, time="7:45 pm") == [early]
    assert rows(table, QUIZ, time="20:15") == [late]
    assert rows(table, QUIZ, time="20:00") == [early]
    assert rows(table, QUIZ, time="21:15") == []
    assert rows(table, QUIZ, time="00:00") == []


def test_a_transaction_echoes_its_arguments_with_defaults() -> None:
    done = answer(entities(), BOOK, name="Ada", city="Lund", time="19:30")
    assert done.status == "success"
    assert done.rows() == [
        {"name": "Ada", "city": "Lund", "time": "19:30", "day": "2019-03-01", "size": "2"}
    ]


def test_a_transactions_row_is_filled_from_its_entity() -> None:
    booked = rows(entities((FIND, [ADA, BO])), BOOK, name="Bo", city="Lund", time="19:30", size="4")
    assert booked == [
        {
            "name": "Bo",
            "city": "Lund",
            "time": "19:30",
            "day": "2019-03-01",
            "size": "4",
            "price": "dear",
            "phone": "040-9",
        }
    ]
    assert tuple(booked[0]) == TOOLS[BOOK].result_slots


def test_of_several_rows_of_an_entity_the_one_that_fits_the_arguments_best_is_taken() -> None:
    two, four = cafe("Ada", size="2", phone="2"), cafe("Ada", size="4", phone="4")
    table = entities((FIND, [two, cafe("Bo")]), (FIND, [four, cafe("Bo")]))
    assert rows(table, BOOK, name="Ada", city="Lund", time="9:00", size="4")[0]["phone"] == "4"
    assert rows(table, BOOK, name="Ada", city="Lund", time="9:00", size="2")[0]["phone"] == "2"


def test_a_transaction_is_written_as_the_service_writes() -> None:
    said = {"name": "ADA", "city": "lund", "time": "7:30 pm", "day": "tomorrow", "size": 4.0}
    written = {"name": "Ada", "city": "Lund", "time": "19:30", "day": "2019-03-02", "size": "4"}
    [row] = rows(entities((FIND, [ADA])), BOOK, **said)
    assert row == {**written, "price": "cheap", "phone": "040-3"}


def test_a_transaction_that_was_recorded_gives_the_recorded_row() -> None:
    recorded = {
        "name": "Ada",
        "city": "Lund",
        "time": "19:30",
        "day": "2019-03-01",
        "size": "2",
        "price": "a bargain",
        "phone": "0",
    }
    table = entities((FIND, [ADA]), (BOOK, [recorded]))
    assert rows(table, BOOK, name="Ada", city="Lund", time="19:30") == [recorded]


def test_no_preference_is_not_echoed() -> None:
    [row] = rows(entities(), BOOK, name="Ada", city="Lund", time="19:30", size="dontcare")
    assert "size" not in row


@pytest.mark.parametrize("value", ["x" * 70_000, "", "\0", "dontcare", 10**400, 1e308])
def test_any_scalar_of_a_required_argument_is_answered(value: object) -> None:
    table = entities((FIND, [ADA]), (BOOK, [{"name": "Ada", "city": "Lund", "time": "19:30"}]))
    assert rows(table, city=value) == []
    assert answer(table, BOOK, name="Ada", city="Lund", time=value).status == "success"


def test_sgds_own_calls_are_mostly_answered_as_sgd_did(sgd_path: Path) -> None:
    corpus = open_corpus(sgd_path)
    queries, bookings = measure(corpus.split("dev"))
    assert queries.share(queries.not_empty) >= 0.99
    assert queries.share(queries.same_first) >= 0.92
    assert queries.share(queries.same_set) >= 0.85
    assert bookings.share(bookings.same_list) >= 0.94
