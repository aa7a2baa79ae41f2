"""Messages are written once and read from where the last reading ended."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import agent_gym_env
from agent_gym_env.chat import (
    ConversationReader,
    MessageLog,
    ReadMessage,
    answered_call,
    call_message,
    call_object,
    calls_of,
    make_tool,
    read_functions,
    read_result,
    required_tool,
    result_message,
    rows_of,
    tool_names,
    with_arguments,
    with_call_ids,
)
from agent_gym_env.types import ToolCall


def spoken() -> MessageLog:
    log = MessageLog()
    log.add_user('Say "hi"')
    log.add_calls([ToolCall("S-Find", {"city": "Köln"}), ToolCall("S-Book")], ['{"a":1}', "{}"])
    log.add_reply("Done.", "Thanks")
    return log


def test_a_log_is_the_conversation_in_openais_format() -> None:
    assert json.loads(spoken().messages) == [
        {"role": "user", "content": 'Say "hi"'},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": "S-Find", "arguments": '{"city":"Köln"}'},
                },
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "S-Book", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": '{"a":1}'},
        {"role": "tool", "tool_call_id": "call_1", "content": "{}"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks"},
    ]


def test_ids_of_calls_go_on_from_those_before() -> None:
    log = spoken()
    assert log.call_count == 2
    log.add_calls([ToolCall("S-Find")], ["{}"])
    assert json.loads(log.messages)[-1]["tool_call_id"] == "call_2"


def test_a_copy_goes_its_own_way() -> None:
    log = spoken()
    before = log.messages
    log.copy().add_reply("Bye")
    assert log.messages == before


def test_results_must_answer_the_calls_one_by_one() -> None:
    with pytest.raises(ValueError, match="1 calls, but 2 results"):
        MessageLog().add_calls([ToolCall("S-Find")], ["{}", "{}"])


def reader(most: int = 1) -> ConversationReader[list[ReadMessage]]:
    return ConversationReader(lambda tools: [], list.append, most=most)


def test_a_continued_conversation_adds_its_new_messages_to_the_same_state() -> None:
    log, kept = spoken(), reader()
    state = kept.read(log.messages)
    before = list(state)
    log.add_reply("Bye")
    assert kept.read(log.messages) is state
    assert state[:-1] == before
    assert (state[-1].role, state[-1].content) == ("assistant", "Bye")


def test_the_same_conversation_adds_nothing() -> None:
    kept = reader()
    state = kept.read(spoken().messages)
    count = len(state)
    assert kept.read(spoken().messages) is state
    assert len(state) == count


def test_another_conversation_has_another_state() -> None:
    kept = reader(most=2)
    one = kept.read('[{"role":"user","content":"a"}]')
    other = kept.read('[{"role":"user","content":"ab"}]')
    assert one is not other
    assert kept.read('[{"role":"user","content":"a"}]') is one


def test_a_conversation_with_other_tools_has_another_state() -> None:
    kept = reader(most=2)
    messages = spoken().messages
    assert kept.read(messages, "[1]") is not kept.read(messages, "[2]")


def test_of_more_conversations_than_are_kept_the_oldest_is_read_again() -> None:
    kept = reader(most=1)
    first = kept.read('[{"role":"user","content":"a"}]')
    kept.read('[{"role":"user","content":"b"}]')
    again = kept.read('[{"role":"user","content":"a"}]')
    assert again == first
    assert again is not first


def test_a_call_is_read_with_its_arguments() -> None:
    message = reader().read(spoken().messages)[1]
    assert [call.function.name for call in message.tool_calls] == ["S-Find", "S-Book"]
    assert message.tool_calls[0].function.decoded_arguments() == {"city": "Köln"}


def test_tools_and_results_are_read() -> None:
    tools = '[{"type":"function","function":{"name":"S-Find","description":"Find it"}}]'
    (function,) = read_functions(tools)
    assert (function.name, function.description) == ("S-Find", "Find it")
    result = read_result('{"name":"S-Find","status":"success","results":[{"city":"Köln"}]}')
    assert (result.status, result.rows()) == ("success", [{"city": "Köln"}])


@pytest.mark.parametrize(
    ("results", "rows"),
    [
        ([{"id": 7, "free": True, "by": None}, 3], [{"id": "7", "free": "True"}]),
        ({"count": 2, "books": [{"id": "a"}, {"id": "b"}]}, [{"id": "a"}, {"id": "b"}]),
        ({"until": "May", "tags": ["x"], "by": {"name": "Jane"}}, [{"until": "May"}]),
        ([], []),
        ("reserved", []),
        (None, []),
    ],
)
def test_any_result_has_rows_of_texts(results: object, rows: object) -> None:
    assert rows_of(results) == rows


@pytest.mark.parametrize("messages", ["", "{}", "[1]", '[{"content":"no role"}]'])
def test_what_is_not_messages_is_refused(messages: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        reader().read(messages)


def test_the_calls_of_a_message_are_read_with_ids_names_and_arguments() -> None:
    message = json.loads(spoken().messages)[1]
    assert [tuple(call) for call in calls_of(message)] == [
        ("call_0", "S-Find", '{"city":"Köln"}'),
        ("call_1", "S-Book", "{}"),
    ]
    assert calls_of({"role": "assistant", "content": "Hi", "tool_calls": None}) == []


def test_a_changed_message_leaves_the_given_one_alone() -> None:
    message = call_message([call_object("1", "F", "{}"), call_object("2", "G", "{}")])
    before = json.dumps(message)
    changed = with_call_ids(with_arguments(message, lambda _: {"a": 1}), {"2": "p"})
    assert [tuple(call) for call in calls_of(changed)] == [
        ("1", "F", {"a": 1}),
        ("p", "G", {"a": 1}),
    ]
    assert json.dumps(message) == before


def test_a_result_follows_the_id_of_its_call() -> None:
    result = result_message("call_0", "{}")
    assert answered_call(with_call_ids(result, {"call_0": "p"})) == "p"
    assert with_call_ids(result, {"call_1": "p"}) == result


def test_a_request_may_name_the_tool_that_must_be_called() -> None:
    tool = make_tool("F", "does it", {"type": "object"})
    assert tool_names([tool]) == ["F"]
    assert required_tool({"type": "function", "function": {"name": "F"}}) == "F"
    assert required_tool("auto") is None
    assert required_tool(None) is None


KEYS_OF_CALLS = {"function", "tool_call_id"}
PARTS_OF_CALLS = ('"function"', '"tool_call_id"', ".function")
KEYS_OF_MESSAGES = {"role", "content"}


def used_as_key(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the constants by which a node reads or writes a mapping."""
    found: list[ast.AST | None] = []
    if isinstance(node, ast.Subscript):
        found = [node.slice]
    elif isinstance(node, ast.Dict):
        found = [*node.keys]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        found = [*node.args[:1]] if node.func.attr == "get" else []
    return (each for each in found if isinstance(each, ast.Constant))


def knows_the_layout(source: str) -> bool:
    """Return whether a module knows how a message holds its tool calls.

    Docstrings aside, it does if one of these is in it:

    - the text ``"function"`` or ``"tool_call_id"``, the keys that only calls and tools have, by
      itself or inside a longer text such as JSON or a chat template;
    - the key ``"tool_calls"`` beside ``"role"`` or ``"content"``. By itself it is also a key of the
      action space;
    - a class with a field ``function`` or ``tool_call_id``, from which msgspec makes a schema.
    """
    tree = list(ast.walk(ast.parse(source)))
    fields = {
        each.target.id
        for node in tree
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    documentation = {id(node.value) for node in tree if isinstance(node, ast.Expr)}
    texts = {
        node.value
        for node in tree
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
    }
    keys = {node.value for each in tree for node in used_as_key(each)}
    return (
        bool(KEYS_OF_CALLS & (texts | fields))
        or any(part in text for part in PARTS_OF_CALLS for text in texts)
        or ("tool_calls" in keys and bool(KEYS_OF_MESSAGES & texts))
    )


@pytest.mark.parametrize(
    ("source", "knows"),
    [
        ('names = [tool["function"]["name"] for tool in tools]', True),
        ('known = message.get("tool_call_id")', True),
        ('text = f\'{{"id":1,"function":{name}}}\'', True),
        ('template = "{{ call.function.name }}"', True),
        ("class Call(Struct):\n    function: Function", True),
        ('calls = message["tool_calls"] if message["role"] == "assistant" else ()', True),
        ('action = {"text": "", "tool_calls": "[]"}', False),
        ('reason, role = "tool_calls", message["role"]', False),
        ('"""The key "function" of a call."""', False),
        ("functions = functions_of(tools)", False),
    ],
)
def test_the_rule_finds_modules_that_know_the_layout(source: str, *, knows: bool) -> None:
    assert knows_the_layout(source) is knows


def test_few_modules_know_the_layout_of_a_tool_call() -> None:
    package = Path(agent_gym_env.__file__).parent
    knowing = [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        if knows_the_layout(path.read_text("utf-8"))
    ]
    assert "chat.py" in knowing
    assert len(knowing) <= 8, knowing
