"""The turn rule holds for any services behind the tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_gym_env.corpus.task import Task
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.conversation import Conversation
from agent_gym_env.types import ToolCall, ToolResult

CALL = {"name": "Echo", "arguments": {"a": "b"}}


class EchoBackend:
    """Answers each call with its own arguments; the tool ``Fail`` says no."""

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""

    def next_turn(self) -> None:
        """Move on."""

    def full_name(self, name: str) -> str:
        return name

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call."""
        if call.name == "Fail":
            return ToolResult(call.name, "error", error="no_luck: there is none")
        return ToolResult(f"Service_1-{call.name}", "success", [call.arguments])


@pytest.fixture
def conversation() -> Conversation:
    return Conversation(EchoBackend(), 2, "Hello?")


def execute(conversation: Conversation, *calls: dict[str, Any]) -> tuple[str, str | None]:
    return conversation.execute(parse_action({"text": "", "tool_calls": list(calls)})[1])


def messages(conversation: Conversation) -> list[dict[str, Any]]:
    decoded: list[dict[str, Any]] = json.loads(conversation.log.messages)
    return decoded


def test_it_begins_with_the_user(conversation: Conversation) -> None:
    assert messages(conversation) == [{"role": "user", "content": "Hello?"}]


def test_a_call_is_answered_by_the_services(conversation: Conversation) -> None:
    results, refused = execute(conversation, CALL)
    assert refused is None
    assert json.loads(results) == [
        {"name": "Service_1-Echo", "status": "success", "results": [{"a": "b"}]}
    ]


def test_a_turn_is_open_until_it_has_too_many_calls(conversation: Conversation) -> None:
    assert conversation.is_open()
    execute(conversation, CALL, CALL)
    assert conversation.is_open()
    results, refused = execute(conversation, CALL)
    assert not conversation.is_open()
    assert refused == "tool_call_limit"
    assert json.loads(results)[0]["error"] == "tool_call_limit: at most 2 calls in one turn"


def test_calls_are_known_by_the_names_that_the_services_gave_them(
    conversation: Conversation,
) -> None:
    execute(conversation, CALL)
    assert conversation.calls == (ToolCall("Service_1-Echo", {"a": "b"}),)
    assert messages(conversation)[1]["tool_calls"][0]["function"]["name"] == "Service_1-Echo"


def test_the_calls_of_the_last_action_are_known_apart(conversation: Conversation) -> None:
    execute(conversation, CALL)
    execute(conversation, {"name": "Fail"})
    assert [call.name for call in conversation.made] == ["Fail"]
    assert [call.name for call in conversation.calls] == ["Service_1-Echo", "Fail"]


def test_the_agent_s_words_close_the_turn_and_the_user_s_open_the_next(
    conversation: Conversation,
) -> None:
    execute(conversation, CALL)
    conversation.close("Hi", "And?")
    assert [message["content"] for message in messages(conversation)[-2:]] == ["Hi", "And?"]
    assert conversation.calls == ()
    assert conversation.is_open()


def test_the_agent_s_last_words_end_it(conversation: Conversation) -> None:
    conversation.close("Hi", None)
    assert messages(conversation)[-1] == {"role": "assistant", "content": "Hi"}


def test_ids_of_calls_go_on_through_the_dialogue(conversation: Conversation) -> None:
    execute(conversation, CALL, CALL)
    conversation.close("Hi", "And?")
    execute(conversation, CALL)
    assert messages(conversation)[-1]["tool_call_id"] == "call_2"


def test_the_first_refused_call_gives_the_code(conversation: Conversation) -> None:
    assert execute(conversation, CALL, {"name": "Fail"})[1] == "no_luck"
    conversation.close("Hi", "And?")
    assert execute(conversation, {"name": 7}, {"name": "Fail"})[1] == "malformed_tool_call"


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\0", "\u2028", "\U0001f375", "]", "</s>"])
def test_any_text_is_kept_as_it_was_said(conversation: Conversation, text: str) -> None:
    execute(conversation, {"name": text, "arguments": {text: text}})
    conversation.close(text, text)
    _, request, answer, reply, user = messages(conversation)
    function = request["tool_calls"][0]["function"]
    assert function["name"] == f"Service_1-{text}"
    assert json.loads(function["arguments"]) == {text: text}
    assert json.loads(answer["content"])["results"] == [{text: text}]
    assert (reply["content"], user["content"]) == (text, text)
