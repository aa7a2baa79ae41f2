from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent_gym_env.chat import Message
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.gemini import (
    config,
    contents,
    read_generated,
    system_instruction,
    tool_config,
)
from agent_gym_env.lm.transport import Failure
from agent_gym_env.types import ToolCall, Usage


def assistant(*ids: str) -> Message:
    calls = [
        {"id": each, "type": "function", "function": {"name": f"F{n}", "arguments": '{"a": 1}'}}
        for n, each in enumerate(ids)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": "[]"}


def generated(*parts: dict[str, Any], **other: Any) -> bytes:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    return msgspec.json.encode({"candidates": [candidate], **other})


def answer(content: bytes) -> Response:
    response = read_generated(content, "m", None)
    assert isinstance(response, Response)
    return response


def failure(content: bytes) -> Failure:
    failed = read_generated(content, "m", None)
    assert isinstance(failed, Failure)
    return failed


def test_the_system_message_stands_apart() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert system_instruction(messages) == "Be brief."
    assert contents(messages) == [{"role": "user", "parts": [{"text": "Hi"}]}]
    assert system_instruction(messages[1:]) is None


def test_results_of_calls_made_at_once_are_one_content_and_name_their_tools() -> None:
    written = contents([assistant("x", "y"), result("x"), result("y")])
    assert [content["role"] for content in written] == ["model", "user"]
    assert [part["function_response"]["name"] for part in written[1]["parts"]] == ["F0", "F1"]


def test_a_signature_goes_back_with_its_call() -> None:
    (content,) = contents([assistant("call_1__thought__c2ln", "call_2")])
    first, second = content["parts"]
    assert first["thought_signature"] == "c2ln"
    assert "thought_signature" not in second


def test_a_call_of_another_model_says_that_it_is_not_signed() -> None:
    (content,) = contents([assistant("call_1")])
    assert content["parts"][0]["thought_signature"]


def test_parameters_have_geminis_names() -> None:
    request = Request((), temperature=0.5, max_tokens=7, seed=3, stop=("END",), extra={"top_k": 1})
    assert config(request) == {
        "temperature": 0.5, "max_output_tokens": 7, "seed": 3, "stop_sequences": ["END"],
        "top_k": 1,
    }  # fmt: skip
    schema = config(Request((), response_format={"type": "object"}))
    assert schema["response_mime_type"] == "application/json"


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "F"}},
            {"mode": "ANY", "allowed_function_names": ["F"]},
        ),
    ],
)
def test_the_choice_of_a_tool_has_geminis_words(choice: Any, written: Any) -> None:
    assert tool_config(Request((), tool_choice=choice)) == {"function_calling_config": written}
    assert tool_config(Request(())) is None


def test_reasoning_is_no_part_of_the_text_but_of_the_bill() -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 90}
    content = generated({"text": "Hm.", "thought": True}, {"text": "Hi"}, usageMetadata=usage)
    response = read_generated(content, "m", Price(0.0, 1e6))
    assert isinstance(response, Response)
    assert (response.text, response.usage, response.cost_usd) == ("Hi", Usage(10, 93), 93.0)


def test_a_call_carries_its_signature_in_its_id() -> None:
    part = {"functionCall": {"name": "F", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    response = answer(generated(part))
    assert response.tool_calls == (ToolCall("F", {"a": 1}),)
    assert response.tool_call_ids[0].endswith("__thought__c2ln")
    assert response.finish_reason == "tool_calls"


def test_a_blocked_prompt_is_an_answer_without_words() -> None:
    response = answer(b'{"promptFeedback": {"blockReason": "SAFETY"}}')
    assert (response.text, response.finish_reason) == ("", "content_filter")


@pytest.mark.parametrize(
    ("reason", "finish_reason"), [("SAFETY", "content_filter"), ("MAX_TOKENS", "length")]
)
def test_nothing_said_for_a_reason_is_an_answer(reason: str, finish_reason: str) -> None:
    content = msgspec.json.encode({"candidates": [{"finishReason": reason}]})
    assert answer(content).finish_reason == finish_reason


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b'{"candidates": []}', b'{"candidates": [{}]}', b'{"candidates": 3}',
        b'{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}', b"\xff",
    ],
)  # fmt: skip
def test_what_cannot_be_read_may_be_whole_the_next_time(content: bytes) -> None:
    assert failure(content).kind == "transient"
