from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent_gym_env.chat import Message
from agent_gym_env.lm.base import DEFAULT_MODEL, Request
from agent_gym_env.lm.client import RemoteLM
from agent_gym_env.lm.google_genai_client import google_genai_client
from agent_gym_env.types import ToolCall
from tests.lm.clients import FAST, KEY, asks, needs
from tests.lm.server import LMServer
from tests.lm.wire_formats import ChatAnswer

pytestmark = [needs("google.genai")]


@pytest.fixture
def lm(server: LMServer) -> Iterator[RemoteLM]:
    made = google_genai_client(api_base=server.url, api_key=KEY, limits=FAST)
    yield made
    made.close()


def test_the_default_model_is_asked_under_googles_name(lm: RemoteLM, server: LMServer) -> None:
    lm.complete(asks())
    assert f"gemini/{lm.name}" == DEFAULT_MODEL
    assert server.requests[0].model == lm.name
    assert server.requests[0].headers["x-goog-api-key"] == KEY


def test_a_signature_comes_back_with_its_call(lm: RemoteLM, server: LMServer) -> None:
    server.agent = lambda request: ChatAnswer(tool_calls=[ToolCall("F", {"a": "b"})])
    tools = [{"type": "function", "function": {"name": "F", "parameters": {"type": "object"}}}]
    (call_id,) = lm.complete(asks(tools=tools)).tool_call_ids
    function = {"name": "F", "arguments": '{"a": "b"}'}
    messages: list[Message] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": call_id, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": call_id, "content": "[]"},
    ]  # fmt: skip
    lm.complete(Request(messages, tools=tools))
    part = server.requests[1].body["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == "c2lnbmF0dXJl0001"
