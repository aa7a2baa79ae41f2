"""Messages are written once and read from where the last reading ended."""

from __future__ import annotations

import json

import msgspec
import pytest

from agent_gym_env.chat import (
    ConversationReader,
    MessageLog,
    ReadMessage,
    read_functions,
    read_result,
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
    assert (result.status, result.results) == ("success", ({"city": "Köln"},))


@pytest.mark.parametrize("messages", ["", "{}", "[1]", '[{"content":"no role"}]'])
def test_what_is_not_messages_is_refused(messages: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        reader().read(messages)
