from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.chat_completions import (
    InvalidRequest,
    completion,
    events,
    payload,
    read_body,
    read_completion,
)
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
        {"functions": [{"name": "f"}]},
        {"function_call": "auto"},
        {"logit_bias": {"1": 2}},
        {"top_logprobs": 2},
        {"modalities": ["audio"]},
        {"top_k": 5},
        {"reasoning_effort": "low"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"store": True},
        {"tool_choise": "none"},
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_everything": True}},
        {"parallel_tool_calls": "no"},
        {"messages": [{"role": "function", "name": "f", "content": "{}"}]},
        {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]},
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
    with pytest.raises(InvalidRequest, match="not a chat completion request"):
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


def test_what_is_not_supported_is_named() -> None:
    with pytest.raises(InvalidRequest, match="'top_k' is not supported") as refused:
        read_body(body(top_k=5), "m")
    assert refused.value.code == "unsupported_parameter"
    with pytest.raises(InvalidRequest, match="offer tools instead"):
        read_body(body(functions=[{"name": "f"}]), "m")


def test_parameters_that_ask_for_nothing_may_be_sent() -> None:
    fields = {
        "n": 1, "top_p": 1.0, "logprobs": None, "frequency_penalty": 0.0, "logit_bias": {},
        "functions": None, "top_k": None, "user": "u", "metadata": {"a": "b"}, "store": False,
        "service_tier": "auto", "modalities": ["text"], "parallel_tool_calls": True,
        "stream_options": None,
    }  # fmt: skip
    assert read_body(body(**fields), "m").request().messages == [USER]


def test_at_most_one_call_may_be_asked_for() -> None:
    request = read_body(body(tools=[TOOL], parallel_tool_calls=False), "m").request()
    assert request.parallel_tool_calls is False
    sent = msgspec.json.encode(payload(request, "m"))
    assert read_body(sent, "m").request() == request


def test_reasoning_is_not_read_as_words() -> None:
    parts = [
        {"type": "thinking", "thinking": "Hm."}, {"type": "reasoning", "text": "Hm."},
        {"type": "text", "text": "Hi"}, {"type": "refusal", "refusal": "!"}, " there",
    ]  # fmt: skip
    chat = read_body(body(messages=[USER, {"role": "assistant", "content": parts}, USER]), "m")
    assert chat.request().messages[1]["content"] == "Hi! there"


def test_reasoning_is_not_answered_as_words() -> None:
    for text, said in (("<think>Hm.</think>Hi", "Hi"), ("<think>Hm.", ""), ("Hi", "Hi")):
        message = msgspec.json.decode(completion(Response(text)))["choices"][0]["message"]
        assert message["content"] == said


def test_the_usage_is_told_in_a_stream_that_asks_for_it() -> None:
    chat = read_body(body(stream=True, stream_options={"include_usage": True}), "m")
    assert chat.tells_usage
    assert not read_body(body(stream=True), "m").tells_usage
    response = Response("Hi", usage=Usage(10, 4))
    *pieces, usage, mark = (
        event.removeprefix(b"data: ").strip() for event in events(response, tells_usage=True)
    )
    assert mark == b"[DONE]"
    assert [msgspec.json.decode(piece)["usage"] for piece in pieces] == [None, None]
    last = msgspec.json.decode(usage)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
    assert all("usage" not in msgspec.json.decode(event[6:]) for event in [*events(response)][:-1])
