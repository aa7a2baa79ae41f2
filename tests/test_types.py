"""Public types are written as JSON, read back equal, and immutable."""

from __future__ import annotations

import msgspec
import pytest

from agent_gym_env.types import Action, Completion, ToolCall, ToolResult, Usage

ACTION = Action(
    "Hi",
    (ToolCall("Teas_1-FindTea", {"kind": "green", "cups": 2, "milk": None}),),
    Completion("raw", "m", Usage(3, 4), 0.01, 0.5, (1, 2)),
)


@pytest.mark.parametrize("value", [ACTION, Action(), Completion("raw")])
def test_a_value_is_read_as_it_was_written(value: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


def test_what_an_action_does_not_say_is_not_written() -> None:
    assert msgspec.json.encode(Action("Hi")) == b'{"text":"Hi"}'


def test_an_action_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ACTION.text = "Bye"  # type: ignore[misc]


def test_calls_do_not_share_their_arguments() -> None:
    ToolCall("a").arguments["spoilt"] = True
    assert ToolCall("a").arguments == {}


def test_rows_are_read_from_json_or_given_as_they_are() -> None:
    rows = [{"name": "Sencha"}, {"name": "Assam"}]
    raw = msgspec.Raw(msgspec.json.encode(rows))
    assert ToolResult("t", "success", rows).rows() == rows
    assert ToolResult("t", "success", raw).rows() == rows
    assert ToolResult("t", "error", error="unknown_tool: t").rows() == []


def test_a_result_writes_results_or_error() -> None:
    raw = msgspec.Raw(b'[{"name":"Sencha"}]')
    found = msgspec.json.encode(ToolResult("t", "success", raw))
    assert found == b'{"name":"t","status":"success","results":[{"name":"Sencha"}]}'
    refused = msgspec.json.encode(ToolResult("t", "error", error="no"))
    assert refused == b'{"name":"t","status":"error","error":"no"}'
