"""Guarantees of every remote client, over real sockets."""

from __future__ import annotations

import base64
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from agent_gym_env.chat import Message
from agent_gym_env.errors import (
    ContextExceeded,
    DeadlineError,
    LMError,
    PermanentLMError,
    TransientLMError,
)
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.budget import Budget
from agent_gym_env.lm.client import RemoteLM
from agent_gym_env.types import ToolCall, Usage
from tests.lm.clients import CLIENTS, FAST, KEY, asks, make_client
from tests.lm.server import Faults, LMServer, Raw
from tests.lm.wire_formats import ChatAnswer, ChatRequest, write_error
from tests.timing import SOON_S

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "Cafes_1-FindCafe",
            "description": "Find a cafe",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "where"},
                    "terrace": {"type": "string", "enum": ["yes", "no"], "default": "no"},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]
CALL = ToolCall("Cafes_1-FindCafe", {"city": "Bergen"})


@pytest.fixture
def server() -> Iterator[LMServer]:
    faults = Faults(retry_after_s=0.3, hang_s=30.0, drip_s=0.02)
    with LMServer(faults=faults) as running:
        yield running


Make = Callable[..., RemoteLM]


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest, server: LMServer) -> Iterator[Make]:
    made: list[RemoteLM] = []

    def make(**arguments: Any) -> RemoteLM:
        made.append(make_client(request.param, server, **arguments))
        return made[-1]

    make.__name__ = request.param
    yield make
    for lm in made:
        lm.close()


def _warm(lm: RemoteLM) -> None:
    """Make the first call, in which libraries import the rest of themselves."""
    for _ in range(10):
        (outcome,) = lm.complete_many([asks()])
        if not isinstance(outcome, LMError):
            return
    pytest.fail(f"no first call succeeds: {outcome}")


def test_an_answer_carries_text_usage_cost_and_latency(make: Make, server: LMServer) -> None:
    response = make().complete(asks())
    billed = server.exchanges[0].billed
    assert billed is not None
    assert response.text == "Certainly."
    assert response.usage == Usage(billed.prompt, billed.completion)
    assert response.cost_usd == billed.prompt + 2 * billed.completion
    assert (response.attempts, response.cached) == (1, False)
    assert 0 < response.latency_s < 10
    assert response.finish_reason == "stop"


def test_an_answer_names_the_model_that_the_service_says_it_served(
    make: Make, server: LMServer
) -> None:
    server.agent = lambda request: ChatAnswer("Certainly.", model="the-successor-2026-09")
    response = make().complete(asks())
    assert response.model == "the-successor-2026-09"
    assert response.completion().model == "the-successor-2026-09"


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens.",
        "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
        "prompt is too long: 208310 tokens > 200000 maximum",
    ],
)
def test_a_conversation_that_is_too_long_is_an_error_of_its_own(
    make: Make, server: LMServer, words: str
) -> None:
    def refuse(request: ChatRequest) -> Raw:
        return Raw(400, write_error(request, 400, words))

    server.plan(refuse)
    with pytest.raises(ContextExceeded, match="tokens"):
        make().complete(asks())
    assert len(server.exchanges) == 1


def test_system_message_and_parameters_arrive(make: Make, server: LMServer) -> None:
    messages: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    make().complete(Request(messages, temperature=0.25, max_tokens=77, stop=("END",)))
    request = server.requests[0]
    assert request.system == "Be brief."
    assert request.last == {"role": "user", "content": "Hello"}
    sent = msgspec.json.encode(request.body).decode()
    assert all(value in sent for value in ("0.25", "77", "END"))


def test_a_tool_is_offered_called_and_answered(make: Make, server: LMServer) -> None:
    server.agent = lambda request: (
        "Try Kaffe." if request.last["role"] == "tool" else ChatAnswer(tool_calls=[CALL], text=None)
    )
    lm = make()
    first = lm.complete(asks("A cafe in Bergen?", tools=TOOLS))
    assert first.tool_calls == (CALL,)
    assert first.text == ""
    assert server.requests[0].tools[0]["function"]["name"] == CALL.name
    (call_id,) = first.tool_call_ids
    function = {"name": CALL.name, "arguments": '{"city": "Bergen"}'}
    calls = [{"id": call_id, "type": "function", "function": function}]
    messages: list[Message] = [
        {"role": "user", "content": "A cafe in Bergen?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": call_id, "content": '{"results": ["Kaffe"]}'},
    ]
    assert lm.complete(Request(messages, tools=TOOLS)).text == "Try Kaffe."
    _, assistant, result = server.requests[1].messages
    assert assistant["tool_calls"][0]["function"]["name"] == CALL.name
    assert "Kaffe" in result["content"]


def test_a_call_that_must_be_made_is_asked_for(make: Make, server: LMServer) -> None:
    make().complete(asks(tools=TOOLS, tool_choice="required"))
    body = server.requests[0].body
    if "toolConfig" in body:
        # One of the libraries writes the number of the word.
        assert body["toolConfig"]["functionCallingConfig"]["mode"] in ("ANY", 2)
    else:
        assert body["tool_choice"] == "required"


def test_a_schema_for_the_answer_arrives(make: Make, server: LMServer) -> None:
    schema = {
        "type": "object",
        "properties": {"score": {"type": "integer"}},
        "required": ["score"],
        "additionalProperties": False,
    }
    make().complete(asks(response_format=schema))
    assert server.requests[0].schema is not None
    assert "score" in server.requests[0].schema["properties"]


@pytest.mark.parametrize(
    "fault",
    ["429", "500", "503", "529", "reset", "cut", "truncated_json", "html", "no_choices",
     "null_content"],
)  # fmt: skip
def test_what_may_pass_is_asked_again(make: Make, server: LMServer, fault: str) -> None:
    lm = make()
    server.plan(fault)
    assert lm.complete(asks()).text == "Certainly."
    assert len(server.exchanges) == 2


@pytest.mark.parametrize("status", ["400", "403", "404", "422"])
def test_what_is_refused_is_not_asked_again(make: Make, server: LMServer, status: str) -> None:
    lm = make()
    server.plan(status)
    with pytest.raises(PermanentLMError, match=f"HTTP {status}.*planned failure"):
        lm.complete(asks())
    assert len(server.exchanges) == 1


def test_a_wait_that_the_provider_asks_for_is_kept(make: Make, server: LMServer) -> None:
    lm = make()
    lm.complete(asks())
    server.plan("429_retry_after")
    response = lm.complete(asks())
    assert 0.3 <= response.latency_s < SOON_S
    assert response.attempts == 2


def test_a_dripping_server_cannot_hold_a_call_past_its_deadline(
    make: Make, server: LMServer
) -> None:
    limits = msgspec.structs.replace(FAST, deadline_s=1.5, attempt_timeout_s=0.8)
    lm = make(limits=limits)
    _warm(lm)
    server.faults.rate, server.faults.kinds = 1.0, ["drip"]
    begun = time.monotonic()
    with pytest.raises((DeadlineError, TransientLMError)):
        lm.complete(asks())
    assert time.monotonic() - begun < SOON_S


def test_a_server_that_says_nothing_is_left_for_another_try(make: Make, server: LMServer) -> None:
    lm = make(limits=msgspec.structs.replace(FAST, attempt_timeout_s=0.8))
    _warm(lm)
    server.plan("hang")
    response = lm.complete(asks())
    assert response.attempts == 2
    assert response.latency_s >= 0.8


def test_attempts_are_bounded(make: Make, server: LMServer) -> None:
    lm = make()
    server.plan(*["500"] * 9)
    with pytest.raises(TransientLMError, match="failed 5 times"):
        lm.complete(asks())
    assert len(server.exchanges) == 5
    assert lm.budget.spent.calls == 5


def test_what_is_billed_is_counted_once(make: Make, server: LMServer) -> None:
    lm = make()
    server.plan("no_choices", "500", "null_content", None)
    response = lm.complete(asks())
    billed = [exchange.billed for exchange in server.exchanges if exchange.billed]
    assert len(billed) == 3
    prompt, completion = sum(b.prompt for b in billed), sum(b.completion for b in billed)
    assert response.usage == Usage(prompt, completion)
    assert response.cost_usd == prompt + 2 * completion
    spent = lm.budget.spent
    assert (spent.calls, spent.prompt_tokens, spent.cost_usd) == (4, prompt, response.cost_usd)


def _echo(request: ChatRequest) -> str:
    """All that the server was told, as a hostile one would say it again."""
    told = [request.path, *(f"{name}: {value}" for name, value in request.headers.items())]
    encoded = [quote(KEY), base64.b64encode(KEY.encode()).decode()]
    return " ".join([*told, f'"api_key": "{KEY}"', *encoded])


def _canaries() -> tuple[str, ...]:
    return (KEY, quote(KEY), base64.b64encode(KEY.encode()).decode()[:-4])


@pytest.mark.parametrize("status", [400, 401, 500])
def test_no_message_log_or_trace_holds_the_key(
    make: Make, server: LMServer, status: int, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    lm = make()
    server.plan(*[lambda request: Raw(status, _echo(request).encode())] * 9)
    with caplog.at_level(logging.DEBUG), pytest.raises(LMError) as failed:
        lm.complete(asks())
    error = failed.value
    shown = [
        *traceback.format_exception(error),
        *traceback.TracebackException.from_exception(error, capture_locals=True).format(),
        repr(error), repr(lm), repr(vars(lm)), caplog.text, *capfd.readouterr(),
    ]  # fmt: skip
    assert not [canary for canary in _canaries() if any(canary in text for text in shown)]
    assert error.__cause__ is None
    assert error.__context__ is None


def test_no_answer_holds_the_key(make: Make, server: LMServer) -> None:
    server.agent = lambda request: ChatAnswer(
        text=_echo(request), tool_calls=[ToolCall("Cafes_1-FindCafe", {"city": KEY})]
    )
    response = make().complete(asks(tools=TOOLS))
    said = msgspec.json.encode(response).decode()
    assert "[redacted]" in said
    assert not [canary for canary in _canaries() if canary in said]


def test_a_budget_in_dollars_needs_a_price(server: LMServer) -> None:
    with pytest.raises(ValueError, match="price of openai/any is not known"):
        make_client("litellm-openai", server, price=None, budget=Budget(usd=1.0))
