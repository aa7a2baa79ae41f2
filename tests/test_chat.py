"""Messages are written once and read from where the last reading ended."""

from __future__ import annotations

import json

import msgspec
import pytest

from agent_gym_env.chat import (
    MessageLog,
    goes_on,
    new_messages,
    read_functions,
    read_result,
    without_bracket,
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


def test_only_what_is_new_is_read() -> None:
    log = spoken()
    known = without_bracket(log.messages)
    log.add_reply("Bye")
    assert goes_on(known, log.messages)
    (message,) = new_messages(log.messages, known)
    assert (message.role, message.content) == ("assistant", "Bye")
    assert new_messages(without_bracket(log.messages) + "]", without_bracket(log.messages)) == []


def test_messages_that_only_look_alike_do_not_go_on() -> None:
    assert not goes_on('[{"role":"user","content":"a"}', '[{"role":"user","content":"b"}]')
    assert not goes_on("[1", "[12]")


def test_a_call_is_read_with_its_arguments() -> None:
    message = new_messages(spoken().messages)[1]
    assert [call.function.name for call in message.tool_calls] == ["S-Find", "S-Book"]
    assert message.tool_calls[0].function.decoded_arguments() == {"city": "Köln"}


def test_tools_and_results_are_read() -> None:
    tools = '[{"type":"function","function":{"name":"S-Find","description":"Find it"}}]'
    (function,) = read_functions(tools)
    assert (function.name, function.description) == ("S-Find", "Find it")
    result = read_result('{"name":"S-Find","status":"success","results":[{"city":"Köln"}]}')
    assert (result.status, result.results) == ("success", ({"city": "Köln"},))


@pytest.mark.parametrize("messages", ["", "{}", "[1]", '[{"content":"no role"}]'])
def test_what_is_not_messages_is_refused(messages: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        new_messages(messages)
