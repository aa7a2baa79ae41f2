"""Actions are read as text and tool calls, or refused with an `action_error`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest

from agent_gym_env.envs.actions import (
    MALFORMED,
    MAX_ACTS,
    MAX_NAME_LENGTH,
    MAX_TOOL_CALLS,
    UNREAD,
    RefusedCall,
    parse_action,
    parse_action_with_acts,
)
from agent_gym_env.envs.spaces import MAX_TEXT_LENGTH
from agent_gym_env.lm.lenient_json import MAX_DEPTH
from agent_gym_env.types import Action, Completion, DialogueAct, ToolCall

CALL = ToolCall("Teas_1-FindTea", {"kind": "green"})
PARSED = {"name": CALL.name, "arguments": CALL.arguments}
JSON_CALL = '{"name": "Teas_1-FindTea", "arguments": {"kind": "green"}}'
OPENAI_CALL = {
    "id": "call_0",
    "type": "function",
    "function": {"name": CALL.name, "arguments": '{"kind": "green"}'},
}


def calls_of(action: Any) -> list[ToolCall | RefusedCall]:
    return list(parse_action(action)[1])


def refusal(tool_calls: str) -> RefusedCall:
    [call] = calls_of({"text": "", "tool_calls": tool_calls})
    assert isinstance(call, RefusedCall)
    return call


def nested(levels: int) -> str:
    return '[{"name": "x", "arguments": {"a": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}}]"


@pytest.mark.parametrize(
    "action",
    [
        {"text": "Hi", "tool_calls": f"[{JSON_CALL}]"},
        {"text": "Hi", "tool_calls": JSON_CALL},
        {"text": "Hi", "tool_calls": [PARSED]},
        {"text": "Hi", "tool_calls": (CALL,)},
        {"text": "Hi", "tool_call": PARSED},
        {"text": "Hi", "tool_call": CALL},
        MappingProxyType({"text": "Hi", "tool_call": PARSED}),
        {"text": np.str_("Hi"), "tool_calls": np.str_(JSON_CALL)},
        Action("Hi", (CALL,)),
        Action("Hi", (CALL,), Completion("raw")),
        {"role": "assistant", "content": "Hi", "tool_calls": [OPENAI_CALL]},
        {"content": [{"type": "text", "text": "Hi"}], "tool_calls": [OPENAI_CALL]},
        [{"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}, {"content": "Hi"}],
        f"<tool_call>{JSON_CALL}</tool_call>\nHi",
        f"Hi <tool_call>{JSON_CALL}",
    ],
)
def test_every_form_of_an_action_says_the_same(action: Any) -> None:
    text, calls, error = parse_action(action)
    assert (text, list(calls), error) == ("Hi", [CALL], None)
    assert type(text) is str


@pytest.mark.parametrize(
    "action",
    [
        "",
        {"text": "", "tool_calls": ""},
        {"text": None, "tool_calls": None},
        {"tool_call": None},
        {"role": "assistant", "content": None},
        Action(),
        [],
    ],
)
def test_an_action_may_be_empty(action: Any) -> None:
    text, calls, error = parse_action(action)
    assert (text, list(calls), error) == ("", [], None)


def test_several_calls_keep_their_order() -> None:
    names = [
        call.name for call in calls_of({"text": "", "tool_calls": [{"name": "b"}, {"name": "a"}]})
    ]
    assert names == ["b", "a"]


@pytest.mark.parametrize("arguments", [None, {}, "", "{}"])
def test_a_call_without_arguments_has_none(arguments: Any) -> None:
    assert calls_of({"tool_call": {"name": "x", "arguments": arguments}}) == [ToolCall("x", {})]


def test_values_of_any_json_type_are_kept() -> None:
    arguments = {"a": 1, "b": 2.5, "c": True, "d": None, "e": [1, {"f": "g"}]}
    text = msgspec.json.encode([{"name": "x", "arguments": arguments}]).decode()
    assert calls_of({"text": "", "tool_calls": text}) == [ToolCall("x", arguments)]


@pytest.mark.parametrize("action", [None, 7, 3.5, b"bytes", True, object(), {1}, np.zeros(2)])
def test_what_is_no_action_at_all_is_a_type_error(action: Any) -> None:
    with pytest.raises(TypeError, match="an action is a mapping"):
        parse_action(action)


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ({"text": 7}, "text is a string, not int"),
        ({"text": "", "tool_calls": 7}, "not int"),
        ({"text": "", "tool_calls": {1}}, "not set"),
        (["Hi"], "holds assistant messages, not str"),
    ],
)
def test_a_part_of_another_type_is_a_type_error(action: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        parse_action(action)


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ({}, "needs 'text', 'tool_calls' or 'tool_call'"),
        ({"reply": "Hi"}, r"its keys are \['reply'\]"),
        ([{"role": "user", "content": "Hi"}], "role is 'user'"),
    ],
)
def test_a_mapping_that_means_something_else_is_a_value_error(action: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_action(action)


@pytest.mark.parametrize(
    ("tool_calls", "name", "code"),
    [
        ("{", MALFORMED, "malformed_tool_call"),
        ("nonsense", MALFORMED, "malformed_tool_call"),
        ("7", MALFORMED, "malformed_tool_call"),
        ("null", MALFORMED, "malformed_tool_call"),
        ("[7]", MALFORMED, "malformed_tool_call"),
        ('[{"arguments": {}}]', MALFORMED, "malformed_tool_call"),
        ('[{"name": ""}]', MALFORMED, "malformed_tool_call"),
        ('[{"name": 7}]', MALFORMED, "malformed_tool_call"),
        (f'[{{"name": "{"x" * (MAX_NAME_LENGTH + 1)}"}}]', MALFORMED, "malformed_tool_call"),
        ('[{"name": "x", "arguments": 7}]', "x", "malformed_tool_call"),
        ('[{"name": "x", "arguments": "{"}]', "x", "malformed_tool_call"),
        ('[{"name": "x", "arguments": {"a": NaN}}]', MALFORMED, "malformed_tool_call"),
        ('[{"name": "x", "arguments": {"a": 1e999}}]', MALFORMED, "malformed_tool_call"),
        ('[{"name": "x", "arguments": {"a": "\ud800"}}]', MALFORMED, "malformed_tool_call"),
        (nested(MAX_DEPTH + 1), "x", "tool_call_too_deep"),
        ("[" * 100_000, MALFORMED, "tool_calls_too_long"),
        ("[" * 60_000, MALFORMED, "malformed_tool_call"),
        (" " * (MAX_TEXT_LENGTH + 1), MALFORMED, "tool_calls_too_long"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_read_is_refused_with_a_stable_code(
    tool_calls: str, name: str, code: str
) -> None:
    refused = refusal(tool_calls)
    assert refused.name == name
    assert refused.error.startswith(f"{code}: ")
    assert len(refused.error) < 500


def test_arguments_may_nest_to_the_limit() -> None:
    [call] = calls_of({"text": "", "tool_calls": nested(MAX_DEPTH)})
    assert isinstance(call, ToolCall)


def test_a_call_that_json_cannot_say_is_refused() -> None:
    cycle: dict[str, Any] = {"name": "x"}
    cycle["arguments"] = cycle
    for call in (object(), cycle, {"name": "x", "arguments": {"a": {1j}}}):
        [refused] = calls_of({"text": "", "tool_call": call})
        assert isinstance(refused, RefusedCall)


def test_each_call_beyond_the_limit_is_refused_under_its_own_name() -> None:
    calls = calls_of({"text": "", "tool_calls": [{"name": "x"}] * (MAX_TOOL_CALLS + 3)})
    assert calls[:MAX_TOOL_CALLS] == [ToolCall("x", {})] * MAX_TOOL_CALLS
    problem = "too_many_tool_calls: 19 calls in one action, at most 16"
    assert calls[MAX_TOOL_CALLS:] == [RefusedCall("x", problem)] * 3


@pytest.mark.parametrize("calls", ['[{"name": "x"}]', [{"name": "x"}]])
def test_white_space_beside_a_call_is_no_text(calls: object) -> None:
    text, _, _ = parse_action({"text": " \n\n", "tool_calls": calls})
    assert text == ""
    assert parse_action({"text": " \n", "tool_calls": ""})[0] == " \n"


@pytest.mark.parametrize("as_action", [str, lambda text: {"text": text, "tool_calls": ""}])
def test_a_text_beyond_the_limit_is_cut(as_action: Any) -> None:
    text, _, error = parse_action(as_action("x" * (MAX_TEXT_LENGTH + 1)))
    assert (text, error) == ("x" * MAX_TEXT_LENGTH, "text_too_long")


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    assert parse_action("a\ud800b")[::2] == ("a\N{REPLACEMENT CHARACTER}b", "invalid_unicode")
    assert parse_action("\ud83c\udf75")[0] == "\U0001f375"


def test_a_huge_completion_with_calls_is_read_to_twice_the_limit_of_a_text() -> None:
    completion = f"<tool_call>{JSON_CALL}</tool_call>" + "x" * 3 * MAX_TEXT_LENGTH
    text, calls, error = parse_action(completion)
    assert (len(text), list(calls), error) == (MAX_TEXT_LENGTH, [CALL], "text_too_long")


@pytest.mark.parametrize(
    "acts",
    [
        [["REQUEST", "city"], ["INFORM", "city", "Lyon"]],
        (DialogueAct("REQUEST", "city"), DialogueAct("INFORM", "city", "Lyon")),
    ],
)
def test_acts_travel_beside_the_action(acts: Any) -> None:
    read = (DialogueAct("REQUEST", "city"), DialogueAct("INFORM", "city", "Lyon"))
    given: list[Any] = [{"text": "Hi", "acts": acts}, Action("Hi", acts=tuple(acts))]
    for action in given:
        assert parse_action_with_acts(action) == (("Hi", [], None), read)


@pytest.mark.parametrize("none", [(), [], None])
def test_an_action_may_have_no_acts(none: Any) -> None:
    assert parse_action_with_acts({"text": "Hi", "acts": none}) == (("Hi", [], None), ())


def test_acts_alone_are_an_action() -> None:
    parsed, acts = parse_action_with_acts({"acts": [["GOODBYE"]]})
    assert (parsed[0], parsed[2], acts) == ("", None, (DialogueAct("GOODBYE"),))


@pytest.mark.parametrize(
    "acts",
    ["GOODBYE", 7, [7], [["INFORM", "city", 7]], [["INFORM", "city", "\ud800"]], [[]], {1, 2},
     [object()], [10**5000], [float("nan")], {"act": "GOODBYE"}, b"GOODBYE"],
)  # fmt: skip
def test_acts_that_cannot_be_read_are_left_out(acts: Any) -> None:
    assert parse_action_with_acts({"text": "Hi", "acts": acts}) == (("Hi", [], UNREAD), ())


def test_acts_nested_without_end_are_left_out() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert parse_action_with_acts({"text": "Hi", "acts": endless})[1] == ()


def test_there_are_at_most_so_many_acts() -> None:
    parsed, acts = parse_action_with_acts(Action("Hi", acts=(DialogueAct("GOODBYE"),) * 300))
    assert (parsed[2], len(acts)) == (UNREAD, MAX_ACTS)
