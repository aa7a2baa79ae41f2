"""Actions in any form that a library uses: no part is dropped without an `action_error`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
from typing import Any

import pytest

from agent_gym_env.envs.actions import RefusedCall, parse_action
from agent_gym_env.types import ToolCall

NAME = "Teas_1-FindTea"
ARGUMENTS = {"kind": "green"}
TEXT = '{"kind": "green"}'
CALL = ToolCall(NAME, ARGUMENTS)
NAMED = {"name": NAME, "arguments": ARGUMENTS}
OPENAI = {"id": "c", "type": "function", "function": {"name": NAME, "arguments": TEXT}}
TOOL_USE = {"type": "tool_use", "id": "t", "name": NAME, "input": ARGUMENTS}
RESPONSES = {
    "type": "function_call", "id": "f", "call_id": "c", "name": NAME, "arguments": TEXT,
    "status": "completed",
}  # fmt: skip
GEMINI = {"functionCall": {"name": NAME, "args": ARGUMENTS, "id": None}, "thoughtSignature": "c2ln"}
SAID = {"type": "text", "text": "Hi"}


@dataclasses.dataclass
class Made:
    """As libraries without pydantic have it."""

    tool_name: str
    args: dict[str, str] | str
    tool_call_id: str = "x"
    part_kind: str = "tool-call"


@dataclasses.dataclass
class Said:
    content: str
    part_kind: str = "text"


@dataclasses.dataclass
class Message:
    parts: list[Any]
    kind: str = "response"


def read(action: Any) -> tuple[str, list[Any], str | None]:
    text, calls, error = parse_action(action)
    return text, list(calls), error


@pytest.mark.parametrize(
    "call",
    [
        NAMED,
        {"name": NAME, "arguments": TEXT},
        {"name": NAME, "args": ARGUMENTS},
        {"name": NAME, "input": ARGUMENTS},
        {"name": NAME, "parameters": ARGUMENTS},
        {"name": NAME, "args": TEXT},
        {"name": NAME, "arguments": None, "args": ARGUMENTS},
        {"name": NAME, "arguments": {}, "input": ARGUMENTS, "error": None},
        {"name": NAME, "args": ARGUMENTS, "id": "1", "type": "tool_call"},
        {"tool": NAME, "args": ARGUMENTS},
        {"tool_name": NAME, "tool_kwargs": ARGUMENTS, "tool_id": "1"},
        {"toolName": NAME, "input": ARGUMENTS, "type": "tool-call", "toolCallId": "1"},
        {"action": NAME, "action_input": ARGUMENTS},
        {"id": "1", "function": NAME, "arguments": ARGUMENTS, "type": "function"},
        OPENAI,
        {"function": NAMED},
        {"function": {"name": NAME}, "arguments": ARGUMENTS},
        {"function": {"name": NAME, "arguments": {}}, "args": ARGUMENTS},
        {"function_call": {"name": NAME, "arguments": TEXT}},
        {"function_call": {"name": NAME, "args": ARGUMENTS}},
        GEMINI,
        RESPONSES,
        TOOL_USE,
        {"toolUse": {"toolUseId": "1", "name": NAME, "input": ARGUMENTS}},
        {"tool_call": NAMED},
        Made(NAME, ARGUMENTS),
        Made(NAME, TEXT),
        CALL,
    ],
)
def test_a_call_keeps_its_arguments_in_every_form(call: Any) -> None:
    assert read({"text": "", "tool_calls": [call]}) == ("", [CALL], None)
    assert read({"text": "Hi", "tool_call": call}) == ("Hi", [CALL], None)
    if isinstance(call, dict):
        assert read({"text": "", "tool_calls": json.dumps([call])}) == ("", [CALL], None)
        assert read(f"<tool_call>{json.dumps(call)}</tool_call>") == ("", [CALL], None)
        assert read(f"<tool_call>[{json.dumps(call)}]</tool_call>") == ("", [CALL], None)
        assert read(call) == ("", [CALL], None)
        assert read([call]) == ("", [CALL], None)


@pytest.mark.parametrize(
    "action",
    [
        {"role": "assistant", "content": "Hi", "tool_calls": [OPENAI]},
        {"role": "assistant", "content": "Hi", "function_call": {"name": NAME, "arguments": TEXT}},
        {"role": "assistant", "content": "Hi", "tool_calls": [OPENAI], "refusal": None,
         "annotations": [], "audio": None, "function_call": None, "reasoning_content": "Hm."},
        {"role": "assistant", "content": [SAID, TOOL_USE], "stop_reason": "tool_use"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"}, SAID, TOOL_USE]},
        {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "Hm"}}},
         {"text": "Hi"}, {"toolUse": {"toolUseId": "1", "name": NAME, "input": ARGUMENTS}}]},
        {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "Hi"}, GEMINI]},
        [SAID, TOOL_USE],
        [{"text": "H"}, {"text": "i"}, GEMINI],
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}, RESPONSES,
         {"type": "message", "role": "assistant", "status": "completed",
          "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
        {"type": "ai", "content": "Hi", "additional_kwargs": {}, "response_metadata": {},
         "tool_calls": [{"name": NAME, "args": ARGUMENTS, "id": "1", "type": "tool_call"}],
         "invalid_tool_calls": [], "usage_metadata": None, "name": None, "example": False},
        {"type": "ai", "content": ["H", {"type": "text", "text": "i"}],
         "additional_kwargs": {"tool_calls": [OPENAI]}},
        Message([Said("Hi"), Made(NAME, ARGUMENTS)]),
        Message([{"part_kind": "thinking", "content": "Hm."}, Said("Hi"), Made(NAME, TEXT)]),
        {"choices": [{"message": {"role": "assistant", "content": "Hi", "tool_calls": [OPENAI]},
                      "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1}},
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}, GEMINI]},
                         "finishReason": "STOP"}], "modelVersion": "m"},
        {"output": [RESPONSES, {"type": "message", "role": "assistant",
                                "content": [{"type": "output_text", "text": "Hi"}]}]},
        {"output": {"message": {"role": "assistant", "content": [
            {"text": "Hi"}, {"toolUse": {"name": NAME, "input": ARGUMENTS}}]}}},
        {"message": {"role": "assistant", "content": "Hi", "tool_calls": [{"function": NAMED}]}},
        {"text": "Hi", "tool_calls": "", "tool_call": NAMED},
        {"text": "Hi", "tool_calls": [], "function_call": NAMED},
        {"text": "Hi", "tool_calls": [NAMED], "tool_call": NAMED},
        "<think>Hm.</think>Hi <tool_call>" + '{"name": "Teas_1-FindTea", "args": {"kind":"green"}}',
    ],
)  # fmt: skip
def test_every_form_of_a_message_says_the_same(action: Any) -> None:
    assert read(action) == ("Hi", [CALL], None)


def _openai() -> Any:
    chat = importlib.import_module("openai.types.chat")
    return chat.ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": "Hi", "tool_calls": [OPENAI], "reasoning_content": "Hm."}
    )


def _openai_completion() -> Any:
    chat = importlib.import_module("openai.types.chat")
    return chat.ChatCompletion.model_validate(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m",
         "choices": [{"index": 0, "finish_reason": "tool_calls", "message": _openai()}]}
    )  # fmt: skip


def _responses() -> Any:
    responses = importlib.import_module("openai.types.responses")
    said = {"type": "output_text", "text": "Hi", "annotations": []}
    return [
        responses.ResponseReasoningItem.model_validate(
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm."}]}
        ),
        responses.ResponseFunctionToolCall.model_validate(RESPONSES),
        responses.ResponseOutputMessage.model_validate(
            {"type": "message", "id": "m", "role": "assistant", "status": "completed",
             "content": [said]}
        ),
    ]  # fmt: skip


def _genai() -> Any:
    types = importlib.import_module("google.genai.types")
    parts = [
        types.Part(text="Hm.", thought=True),
        types.Part(text="Hi"),
        types.Part(
            function_call=types.FunctionCall(name=NAME, args=ARGUMENTS), thought_signature=b"s"
        ),
    ]
    content = types.Content(role="model", parts=parts)
    return types.GenerateContentResponse(candidates=[types.Candidate(content=content)])


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("openai", _openai),
        ("openai", _openai_completion),
        ("openai", _responses),
        ("google.genai", _genai),
        ("google.genai", lambda: _genai().candidates[0].content),
        ("google.genai", lambda: _genai().candidates[0].content.parts),
    ],
)
def test_the_objects_of_the_libraries_are_read(library: str, make: Any) -> None:
    pytest.importorskip(library, reason="it comes with the extras llm and gemini")
    assert read(make()) == ("Hi", [CALL], None)


@pytest.mark.parametrize(
    ("call", "name", "problem"),
    [
        ({"name": NAME, "kind": "green"}, NAME, "unknown keys ('kind',)"),
        ({"name": NAME, "count": 0}, NAME, "unknown keys ('count',)"),
        ({"name": NAME, "arguments": {}, "kind": "green"}, NAME, "unknown keys ('kind',)"),
        ({"name": NAME, "argument": ARGUMENTS}, NAME, "unknown keys ('argument',)"),
        ({"name": NAME, "arguments": {"a": 1}, "args": {"a": 2}}, NAME, "different arguments"),
        ({"name": NAME, "tool": "other"}, NAME, "different names"),
        ({"name": NAME, "args": "green"}, NAME, "not JSON"),
        ({"name": NAME, "input": ["green"]}, NAME, "not a list"),
        ({"type": "custom", "custom": {"name": NAME, "input": "free text"}}, NAME, "not JSON"),
        ({"name": NAME, "args": "{", "error": "e", "type": "invalid_tool_call"}, NAME, "not JSON"),
    ],
)
def test_a_call_that_would_lose_its_arguments_is_refused(
    call: dict[str, Any], name: str, problem: str
) -> None:
    for action in (
        {"text": "", "tool_calls": [call]},
        {"text": "", "tool_calls": json.dumps([call])},
    ):
        [refused] = read(action)[1]
        assert isinstance(refused, RefusedCall)
        assert refused.name == name
        assert refused.error.startswith("malformed_tool_call: ")
        assert problem in refused.error


def test_calls_that_langchain_could_not_read_are_refused() -> None:
    bad = {"name": NAME, "args": "{oops", "id": "1", "type": "invalid_tool_call"}
    [refused] = read({"type": "ai", "content": "", "invalid_tool_calls": [bad]})[1]
    assert isinstance(refused, RefusedCall)


@pytest.mark.parametrize(
    ("action", "text", "calls"),
    [
        ({"text": "Hi", "tool_calls": "", "calls": [NAMED]}, "Hi", []),
        ({"text": "", "tool_calls": "", "reply": "Hello"}, "", []),
        ({"text": "Ho", "content": "Hi"}, "Hi", []),
        ([{"content": "Ho"}, {"content": "Hi"}], "Hi", []),
        ([{"content": "Hi"}, {"reply": "Ho"}], "Hi", []),
        ({"content": [SAID, {"type": "image_url", "image_url": {"url": "x"}}]}, "Hi", []),
        ({"content": [SAID, 7]}, "Hi", []),
        ({"content": [{**SAID, "calls": [NAMED]}]}, "Hi", []),
        ([{"text": "Hi", "calls": [NAMED]}], "Hi", []),
        ({"text": "Hi", "tool_calls": [{**NAMED, "day": "Friday"}]}, "Hi", [CALL]),
        ({"content": "Hi", "refusal": "No"}, "Hi", []),
        ({"content": "Hi", "tool_call_chunks": [{"name": NAME, "args": "{}"}]}, "Hi", []),
        ({"content": {"text": "Hi"}, "text": "Ho", "tool_calls": [NAMED]}, "Ho", [CALL]),
    ],
)
def test_what_is_left_out_is_named(action: Any, text: str, calls: list[ToolCall]) -> None:
    assert read(action) == (text, calls, "unread_content")


@pytest.mark.parametrize(
    "action",
    [
        {"text": "Hi", "tool_calls": "", "reasoning": "Hm.", "confidence": 0.9, "other": None},
        {"text": "Hi", "tool_calls": "", "completion": {"text": "raw"}},
        {"content": None, "refusal": "Hi"},
        {"content": [{"type": "refusal", "refusal": "Hi"}]},
        {"content": "<think>Hm.</think>\nHi"},
        "Hm.</think>Hi",
        {"role": "assistant", "name": "bot", "content": "Hi"},
    ],
)
def test_what_is_no_part_of_the_action_is_left_out_in_silence(action: Any) -> None:
    assert read(action) == ("Hi", [], None)


@pytest.mark.parametrize(
    "action",
    [
        {"text": "Hi", "tool_calls": NAMED},  # one call, not in a list
        {"text": "Hi", "tool_calls": {"tool_calls": [NAMED]}},  # DSPy's ToolCalls
        {"role": "assistant", "content": {"type": "text", "text": "Hi"}, "tool_calls": [NAMED]},
        # What libraries add to a message.
        {"parts": [{"content": "Hi", "part_kind": "text"},
                   {**NAMED, "tool_call_id": "1", "part_kind": "tool-call"}],
         "kind": "response", "model_name": "m"},
        {"role": "assistant", "content": "Hi", "source": "generate",
         "tool_calls": [{"function": NAME, "arguments": CALL.arguments, "view": None}]},
        {"role": "assistant", "content": "Hi", "raw_data": {"a": "b"}, "turn_idx": 3,
         "tool_calls": [{**NAMED, "requestor": "assistant"}]},
        {"role": "assistant", "tool_plan": "Hm.", "content": "Hi", "tool_calls": [NAMED]},
        {"role": "assistant", "meta": {"model": "m"},
         "content": [{"reasoning": {"reasoning_text": "Hm."}}, {"text": "Hi"},
                     {"tool_call": {"tool_name": NAME, "arguments": CALL.arguments}}]},
        {"role": "assistant", "blocks": [
            {"block_type": "thinking", "content": "Hm."}, {"block_type": "text", "text": "Hi"},
            {"block_type": "tool_call", "tool_name": NAME, "tool_kwargs": CALL.arguments}]},
        {"role": "assistant", "parts": [{"type": "text", "text": "Hi"}, {
            "type": "tool-invocation",
            "toolInvocation": {"state": "call", "toolName": NAME, "args": CALL.arguments}}]},
        {"type": "AIMessageChunk", "content": "Hi", "tool_calls": [NAMED],
         "tool_call_chunks": [{"name": NAME, "args": "{", "index": 0}]},
    ],
)  # fmt: skip
def test_what_libraries_add_to_a_message_leaves_it_whole(action: Any) -> None:
    assert read(action) == ("Hi", [CALL], None)


def test_text_of_the_action_space_is_text_tags_and_all() -> None:
    text = "<think>Hm.</think> <tool_call>{}</tool_call>"
    assert read({"text": text, "tool_calls": ""}) == (text, [], None)


def test_unfinished_reasoning_is_neither_said_nor_called() -> None:
    thought = f'<think>I could <tool_call>{{"name": "{NAME}"}}</tool_call>'
    assert read(thought) == ("", [], "unfinished_reasoning")
    assert read({"role": "assistant", "content": thought}) == ("", [], "unfinished_reasoning")


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ({"role": "tool", "content": "{}"}, "role is 'tool'"),
        ({"type": "human", "content": "Hi"}, "role is 'human'"),
        ({"choices": []}, "choices has 0"),
        ({"choices": [{}, {}]}, "choices has 2"),
        ({"name": NAME}, "needs 'text'"),
    ],
)
def test_what_is_no_action_of_one_assistant_raises(action: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_action(action)


def test_strange_values_of_keys_do_no_harm() -> None:
    around: dict[str, Any] = {"content": "Hi"}
    for _ in range(5000):
        around = {"message": around}
    listed: Any = []
    for _ in range(5000):
        listed = [{"output": listed}]
    for action in (
        around,
        listed,
        {"type": {}, "content": "Hi"},
        {"content": [{"type": [], "text": "Hi"}]},
    ):
        with contextlib.suppress(ValueError):
            parse_action(action)
