from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.chat_completions import payload, read_completion
from agent_gym_env.lm.openai_wire import InvalidRequest, completion, events, read_body
from agent_gym_env.types import ToolCall, Usage

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"messages": [USER], "model": "m", **fields})


def test_what_our_client_sends_is_what_was_asked() -> None:
    request = Request(
        [{"role": "system", "content": "Be kind."}, USER,
         {"role": "assistant", "content": "", "tool_calls": [CALL]},
         {"role": "tool", "content": "{}", "tool_call_id": "call_1"}],
        tools=[TOOL], tool_choice="required", response_format={"type": "object"},
        temperature=0.5, max_tokens=7, seed=3, stop=("x",),
    )  # fmt: skip
    sent = msgspec.json.encode(payload(request, "m"))
    assert read_body(sent, "m").request() == request


def test_what_our_client_reads_is_what_was_answered() -> None:
    response = Response(
        "One moment.", (ToolCall("f", {"a": "é"}),), model="m", finish_reason="tool_calls",
        usage=Usage(10, 4),
    )  # fmt: skip
    read = read_completion(completion(response), "m", None)
    assert isinstance(read, Response)
    assert all(identity.startswith("call_") for identity in read.tool_call_ids)
    assert msgspec.structs.replace(read, tool_call_ids=()) == response


def test_silence_is_an_answer() -> None:
    read = read_completion(completion(Response("", model="m", usage=Usage(1, 1))), "m", None)
    assert isinstance(read, Response)
    assert read.text == ""


def test_parts_of_text_are_joined_and_a_developer_speaks_as_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    chat = read_body(body(messages=[{"role": "developer", "content": parts}, USER]), "m")
    assert chat.request().messages[0] == {"role": "system", "content": "ab"}


def test_a_named_tool_and_one_stop_text_are_understood() -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    request = read_body(body(tool_choice=choice, tools=[TOOL], stop="x"), "m").request()
    assert request.tool_choice == {"function": {"name": "f"}, "type": "function"}
    assert request.stop == ("x",)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": [{"role": "robot", "content": "a"}]},
        {"messages": "Hi"},
        {"temperature": 3},
        {"temperature": "hot"},
        {"max_tokens": 0},
        {"stop": [""]},
        {"n": 2},
        {"top_p": 0.5},
        {"logprobs": True},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "maybe"},
        {"response_format": {"type": "json_schema"}},
    ],
)
def test_what_cannot_be_answered_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_body(body(**fields), "m")
    assert refused.value.status == 400


def test_pictures_are_refused() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
    chat = read_body(body(messages=[{"role": "user", "content": picture}]), "m")
    with pytest.raises(InvalidRequest, match="text only"):
        chat.request()


@pytest.mark.parametrize("sent", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_request_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no chat completion request"):
        read_body(sent, "m")


def test_another_model_is_not_found() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_body(body(model="gpt-4o"), "m")
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


def test_events_end_with_the_reason_and_the_mark() -> None:
    response = Response("", (ToolCall("f", {}),), model="m", finish_reason="tool_calls")
    first, last, mark = (event.removeprefix(b"data: ").strip() for event in events(response))
    delta = msgspec.json.decode(first)["choices"][0]["delta"]
    assert delta["tool_calls"][0]["index"] == 0
    assert msgspec.json.decode(last)["choices"][0]["finish_reason"] == "tool_calls"
    assert mark == b"[DONE]"
