from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.chat_completions import payload, read_completion
from agent_gym_env.lm.transport import Failure
from agent_gym_env.types import ToolCall, Usage

MESSAGES = [{"role": "user", "content": "Hi"}]


def body(message: dict[str, Any], **other: Any) -> bytes:
    return msgspec.json.encode({"choices": [{"message": message, **other}]})


def answer(message: dict[str, Any], **other: Any) -> Response:
    response = read_completion(body(message, **other), "m", None)
    assert isinstance(response, Response)
    return response


def call(arguments: Any, name: str = "F") -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_what_a_request_leaves_open_is_not_sent() -> None:
    assert payload(Request(MESSAGES), "m") == {"model": "m", "messages": MESSAGES}


def test_a_request_is_sent_whole() -> None:
    schema = {"type": "object"}
    tool = {"type": "function", "function": {"name": "F"}}
    request = Request(
        MESSAGES, [tool], "required", schema, 0.5, 7, 3, ("END",), {"top_k": 1}, sample=9
    )
    assert payload(request, "m") == {
        "model": "m", "messages": MESSAGES, "tools": [tool], "tool_choice": "required",
        "temperature": 0.5, "max_tokens": 7, "seed": 3, "stop": ["END"], "top_k": 1,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
    }  # fmt: skip


def test_text_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "image"}, {"type": "text", "text": "lo"}]
    assert answer({"content": parts}).text == "Hello"


@pytest.mark.parametrize("arguments", ['{"a": 1}', {"a": 1}, "{'a': 1,}"])
def test_arguments_are_parsed_and_repaired(arguments: Any) -> None:
    response = answer({"content": None, "tool_calls": [call(arguments)]})
    assert response.tool_calls == (ToolCall("F", {"a": 1}),)
    assert response.tool_call_ids == ("c1",)


def test_a_call_that_cannot_be_read_is_text() -> None:
    calls = [call("{broken"), call('{"a": 1}', "G")]
    response = answer({"content": "Hm.", "tool_calls": calls})
    assert response.tool_calls == (ToolCall("G", {"a": 1}),)
    assert response.text.startswith("Hm.\n<tool_call>")
    assert "{broken" in response.text


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_nothing_said_for_a_reason_is_an_answer(reason: str) -> None:
    response = answer({"content": None}, finish_reason=reason)
    assert (response.text, response.finish_reason) == ("", reason)


def test_silence_is_an_answer() -> None:
    assert answer({"content": ""}).text == ""


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"<html>", b"{}", b'{"choices": null}', b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": 3}}]}',
        b'{"choices": [{"message": {"tool_calls": [{"id": "x"}]}}]}', b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}', b'{"error": "overloaded"}', b"\xff\xfe",
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_may_be_whole_the_next_time(content: bytes) -> None:
    failure = read_completion(content, "m", None)
    assert isinstance(failure, Failure)
    assert failure.kind == "transient"


def test_what_says_nothing_is_billed_all_the_same() -> None:
    content = b'{"choices": [], "usage": {"prompt_tokens": 1000000, "completion_tokens": 0}}'
    failure = read_completion(content, "m", Price(2.0, 12.0))
    assert isinstance(failure, Failure)
    assert failure.usage == Usage(1_000_000, 0)
    assert failure.cost_usd == 2.0


def test_tokens_that_were_remembered_have_their_price() -> None:
    usage = {
        "prompt_tokens": 1_000_000,
        "completion_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 500_000},
    }
    content = msgspec.json.encode({"choices": [{"message": {"content": "x"}}], "usage": usage})
    response = read_completion(content, "m", Price(2.0, 12.0, 1.0))
    assert response.cost_usd == 1.0 + 0.5


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", None, "eos"])
@pytest.mark.parametrize(
    "content", [None, [], [{"type": "thinking", "thinking": "Hm."}], [{"type": "image_url"}]]
)
def test_no_text_and_no_call_is_asked_again_whatever_the_reason(
    content: Any, reason: str | None
) -> None:
    sent = body({"content": content, "reasoning_content": "Hm."}, finish_reason=reason)
    failure = read_completion(sent, "m", None)
    assert isinstance(failure, Failure)
    assert failure.kind == "transient"


@pytest.mark.parametrize("content", ["", " \n", [{"type": "text", "text": ""}]])
def test_calls_that_were_lost_on_the_way_are_asked_for_again(content: Any) -> None:
    failure = read_completion(body({"content": content}, finish_reason="tool_calls"), "m", None)
    assert isinstance(failure, Failure)
    assert answer({"content": content}, finish_reason="stop").tool_calls == ()


def test_words_are_an_answer_whatever_the_reason() -> None:
    assert answer({"content": "Hi"}, finish_reason="tool_calls").text == "Hi"


def test_reasoning_is_not_joined_to_the_words() -> None:
    parts = [
        {"type": "reasoning", "text": "Hm."},
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"text": "Hm.", "thought": True},
        "Hel",
        {"type": "text", "text": "lo"},
    ]
    assert answer({"content": parts, "reasoning": "Hm."}).text == "Hello"


def test_a_refusal_is_words() -> None:
    nothing: Any
    for nothing in (None, "", []):
        assert answer({"content": nothing, "refusal": "I may not."}).text == "I may not."
    assert answer({"content": "Hi", "refusal": ""}).text == "Hi"
    assert answer({"content": [{"type": "refusal", "refusal": "No."}]}).text == "No."


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "function_call": {"name": "F", "arguments": '{"a": 1}'}},
        {"content": [{"type": "tool_use", "id": "t", "name": "F", "input": {"a": 1}}]},
        {"content": [{"functionCall": {"name": "F", "args": {"a": 1}}}]},
    ],
)
def test_calls_in_other_forms_are_read(message: dict[str, Any]) -> None:
    response = answer(message, finish_reason="function_call")
    assert response.tool_calls == (ToolCall("F", {"a": 1}),)
    assert response.finish_reason == "tool_calls"
    assert len(response.tool_call_ids) == 1


def test_at_most_one_call_is_asked_for_where_there_are_tools() -> None:
    tool = {"type": "function", "function": {"name": "F"}}
    asked = payload(Request(MESSAGES, [tool], parallel_tool_calls=False), "m")
    assert asked["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in payload(Request(MESSAGES, parallel_tool_calls=False), "m")
