from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

import uvicorn

from agent_gym_env.errors import LMError, PermanentLMError, TransientLMError
from agent_gym_env.lm import openai_server
from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.openai_server import make_app, serve
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.types import ToolCall, Usage
from tests.lm.clients import needs

USER = {"role": "user", "content": "Hi"}
KEY = "a-key-of-the-tests"


class Running:
    """A server in a thread of this process."""

    def __init__(self, model: Any, api_key: str | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        config = uvicorn.Config(make_app(model, api_key=api_key), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.listener.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self.listener]))

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ask(
        self, body: bytes | dict[str, Any], method: str = "POST",
        path: str = "/v1/chat/completions", **headers: str,
    ) -> tuple[int, Any]:  # fmt: skip
        """Send a request; gives status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        connection.request(method, path, data, {name.title(): v for name, v in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, msgspec.json.decode(content)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running(ScriptedLM(lambda request: request.messages[-1]["content"])) as running:
        yield running


def test_our_own_client_is_answered(server: Running) -> None:
    lm = local_client("scripted", server.base)
    assert lm.complete(Request([USER])).text == "Hi"


def test_models_and_health_are_told(server: Running) -> None:
    status, models = server.ask(b"", "GET", "/v1/models")
    assert (status, models["data"][0]["id"]) == (200, "scripted")
    assert server.ask(b"", "GET", "/health") == (200, {"status": "ok"})


def test_the_answer_can_be_streamed(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = msgspec.json.encode({"messages": [USER], "stream": True})
    connection.request("POST", "/v1/chat/completions", body)
    response = connection.getresponse()
    assert response.getheader("Content-Type", "").startswith("text/event-stream")
    lines = [line for line in response.read().split(b"\n\n") if line]
    connection.close()
    assert msgspec.json.decode(lines[0][6:])["choices"][0]["delta"]["content"] == "Hi"
    assert lines[-1] == b"data: [DONE]"


def test_openai_s_own_library_reads_usage_and_gets_at_most_one_call() -> None:
    openai = pytest.importorskip("openai", reason="it comes with the extra llm")
    call = ToolCall("f", {"a": 1})

    def answer(request: Request) -> Response:
        calls = (call,) if request.parallel_tool_calls is False else (call, call)
        return Response("", calls, model="scripted", usage=Usage(10, 4))

    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with Running(ScriptedLM(answer)) as running:
        client = openai.OpenAI(api_key="none", base_url=running.base, max_retries=0, timeout=60)
        asked = {"model": "scripted", "messages": [USER], "tools": [tool]}
        one = client.chat.completions.create(**asked, parallel_tool_calls=False)
        chunks = list(
            client.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        )
        with pytest.raises(openai.BadRequestError, match="'reasoning_effort' is not supported"):
            client.chat.completions.create(**asked, reasoning_effort="low")
        client.close()
    assert len(one.choices[0].message.tool_calls) == 1
    assert len(chunks[0].choices[0].delta.tool_calls) == 2
    assert [chunk.usage and chunk.usage.total_tokens for chunk in chunks] == [None, None, 14]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 5000, 400),
        ({"messages": []}, 400),
        ({"messages": [USER], "model": "other"}, 404),
        ({"messages": [USER], "functions": [{"name": "f"}]}, 400),
        ({"messages": [USER], "top_k": 5}, 400),
        ({"messages": [USER], "stream_options": {"include_usage": True}}, 400),
        (b" " * (openai_server.MAX_BODY_BYTES + 1), 413),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_openai_s_form(
    server: Running, body: Any, status: int
) -> None:
    found, answer = server.ask(body)
    assert found == status
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/v1/../etc/passwd", 404),
     ("GET", "/docs", 404), ("GET", "/openapi.json", 404)],
)  # fmt: skip
def test_there_is_nothing_else(server: Running, method: str, path: str, status: int) -> None:
    found, answer = server.ask(b"", method, path)
    assert found == status
    assert "error" in answer


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.example", 403),
        ("host", "127.0.0.1.evil.example:80", 403),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("host", "[", 403),
        ("origin", "http://[x", 403),
        ("host", "localhost:8000", 200),
        ("origin", "http://127.0.0.1:3000", 200),
    ],
)
def test_web_pages_of_other_places_are_refused(
    server: Running, header: str, value: str, status: int
) -> None:
    assert server.ask({"messages": [USER]}, **{header: value})[0] == status


@pytest.mark.parametrize("sent", [{}, {"authorization": "Bearer wrong"}, {"authorization": KEY}])
def test_without_the_key_nothing_is_answered(sent: dict[str, str]) -> None:
    with Running(ScriptedLM(["never"]), api_key=KEY) as running:
        status, answer = running.ask({"messages": [USER]}, **sent)
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        assert running.ask(b"", "GET", "/v1/models", **sent)[0] == 401
        assert running.ask(b"", "GET", "/health", **sent)[0] == 200


def test_with_the_key_it_is_answered() -> None:
    with Running(ScriptedLM(["Hello"]), api_key=KEY) as running:
        assert running.ask({"messages": [USER]}, authorization=f"Bearer {KEY}")[0] == 200


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PermanentLMError("too long by 3 tokens"), 400, "too long by 3 tokens"),
        (TransientLMError("secret address"), 503, "the model did not answer"),
    ],
)
def test_what_the_model_refuses_is_the_client_s_error_and_nothing_else_is_told(
    error: LMError, status: int, message: str
) -> None:
    with Running(ScriptedLM([error])) as running:
        found, answer = running.ask({"messages": [USER]})
        assert (found, answer["error"]["message"]) == (status, message)


def test_an_error_of_ours_is_told_without_its_text() -> None:
    class Broken(ScriptedLM):
        def complete(self, request: Request) -> Response:
            raise RuntimeError("a secret")

    with Running(Broken([])) as running:
        status, answer = running.ask({"messages": [USER]})
        assert (status, answer["error"]["type"]) == (500, "server_error")
        assert "secret" not in answer["error"]["message"]


def test_requests_that_arrive_together_reach_the_model_together() -> None:
    class Patient(ScriptedLM):
        everyone = threading.Barrier(32, timeout=30)

        def complete(self, request: Request) -> Response:
            self.everyone.wait()
            return Response("together", model=self.name)

    with Running(Patient([])) as running, ThreadPoolExecutor(32) as threads:
        asked = [threads.submit(running.ask, {"messages": [USER]}) for _ in range(32)]
        assert {future.result()[0] for future in asked} == {200}


def test_more_than_it_can_hold_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "MAX_CONCURRENT", 1)
    inside, leave = threading.Event(), threading.Event()

    def answer(_: Request) -> str:
        inside.set()
        leave.wait(30)
        return "done"

    with Running(ScriptedLM(answer)) as running, ThreadPoolExecutor(1) as threads:
        first = threads.submit(running.ask, {"messages": [USER]})
        assert inside.wait(30)
        assert running.ask({"messages": [USER]})[0] == 429
        leave.set()
        assert first.result()[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "BODY_TIMEOUT_S", 0.2)
    with Running(ScriptedLM(["never"])) as running:
        connection = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
        )
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        connection.close()


def test_dropped_connections_leave_the_server_well(server: Running) -> None:
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Le")
        connection.close()
    assert server.ask({"messages": [USER]})[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_it_is_not_open_to_other_machines_without_a_key(host: str) -> None:
    with pytest.raises(ValueError, match="other machines"):
        serve(ScriptedLM([]), host=host)


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 65535, not 99999"):
        openai_server.serve(ScriptedLM([]), port=99_999)


def test_an_address_that_is_taken_is_named(server: Running) -> None:
    with pytest.raises(ValueError, match=f"port {server.port}"):
        serve(ScriptedLM([]), port=server.port)


def _played(policy: Any, count: int) -> list[Any]:
    from agent_gym_env.assembly import make_env
    from agent_gym_env.rollout.play import play_all

    env: Any = make_env(split="dev", max_episode_steps=4)
    ids = env.unwrapped.split.dialogue_ids()[:count]
    episodes = list(play_all(env, policy, ids))
    assert [episode.error for episode in episodes] == [None] * count
    return [
        [
            (step.action.text, step.action.tool_calls)
            for turn in episode.turns
            for step in turn.steps
        ]
        for episode in episodes
    ]


@pytest.mark.parametrize("client", ["local", pytest.param("litellm", marks=needs("litellm"))])
def test_a_served_model_plays_as_it_does_in_process(client: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra train is not installed")
    pytest.importorskip("llguidance", reason="the extra train is not installed")
    from agent_gym_env.lm.litellm_client import litellm_client
    from agent_gym_env.lm.transformers_client import TransformersClient
    from agent_gym_env.policies.llm import LLMPolicy
    from agent_gym_env.policies.transformers_model import TransformersPolicy
    from tests.local_models import write_model

    folder = write_model(tmp_path / "tiny")
    options: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 6}
    model = TransformersClient(folder, **options)
    with Running(model) as running:
        lm = (
            local_client("tiny", running.base)
            if client == "local"
            else litellm_client("openai/tiny", api_base=running.base, api_key=KEY)
        )
        served = _played(LLMPolicy(lm, temperature=1.0, send_seed=True), 2)
        lm.close()
    assert served == _played(TransformersPolicy(folder, **options), 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="the extra train is not installed")
    pytest.importorskip("llguidance", reason="the extra train is not installed")
    from tests.local_models import write_model

    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def local(folder: Path) -> Iterator[Running]:
    from agent_gym_env.lm.transformers_client import TransformersClient

    with Running(TransformersClient(folder, max_new_tokens=64)) as running:
        yield running


def function(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "F", "parameters": parameters}}


def schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


ENDLESS: list[dict[str, Any]] = [
    {"type": "string", "pattern": "^(a+)+$"},
    {"type": "string", "minLength": 100_000},
    {"type": "array", "items": {"type": "integer"}, "minItems": 5_000},
    {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
]


@pytest.mark.parametrize("schema", ENDLESS)
def test_max_tokens_holds_whatever_the_schema(local: Running, schema: dict[str, Any]) -> None:
    parameters = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    for fields in (
        {"response_format": schema_of(parameters)},
        {"tools": [function(parameters)], "tool_choice": "required"},
    ):
        status, answer = local.ask({"messages": [USER], "max_tokens": 8, **fields})
        assert status == 200
        assert answer["usage"]["completion_tokens"] == 8
        assert answer["choices"][0]["finish_reason"] == "length"
        assert "tool_calls" not in answer["choices"][0]["message"]


def test_a_client_that_goes_away_before_its_body_has_arrived_is_no_error_of_the_server(
    local: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handlers", [caplog.handler])
    with socket.create_connection(("127.0.0.1", local.port)) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
        )
        time.sleep(0.2)
    status, _ = local.ask({"messages": [USER], "max_tokens": 2})
    assert status == 200
    assert "ClientDisconnect" not in caplog.text


@pytest.mark.parametrize("text", [None, 5, ["a"], {"value": "a"}])
def test_a_part_whose_text_is_none_is_refused(local: Running, text: Any) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": text}]
    status, answer = local.ask({"messages": [{"role": "user", "content": parts}]})
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_a_function_may_have_no_parameters(local: Running) -> None:
    for bare in ({"name": "F"}, {"name": "F", "parameters": None}):
        tools = [{"type": "function", "function": bare}]
        status, answer = local.ask({"messages": [USER], "tools": tools, "tool_choice": "required"})
        assert status == 200
        call = answer["choices"][0]["message"]["tool_calls"][0]
        assert call["function"] == {"name": "F", "arguments": "{}"}


@pytest.mark.parametrize(
    "parameters",
    [{"properties": {"a": {}}, "required": None}, {"properties": 3}, {"properties": {"a": None}}],
)
def test_a_schema_that_breaks_the_template_is_its_own_request_s_error(
    local: Running, parameters: dict[str, Any]
) -> None:
    good = {"messages": [USER], "max_tokens": 4}
    with ThreadPoolExecutor(4) as threads:
        others = [threads.submit(local.ask, good) for _ in range(3)]
        status, answer = local.ask({**good, "tools": [function(parameters)]})
        assert {other.result()[0] for other in others} == {200}
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_what_the_template_refuses_is_told(folder: Path) -> None:
    from agent_gym_env.lm.transformers_client import TransformersClient

    model = TransformersClient(folder)
    model._prompts._tokenizer.chat_template = (
        "{% if messages[0].role == 'tool' %}{{ raise_exception('no tools first') }}{% endif %}"
        "{% if messages[0].content == 'endless' %}"
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}a"
    )
    with Running(model) as running:
        status, answer = running.ask({"messages": [{"role": "tool", "content": "{}"}]})
        assert (status, "no tools first" in answer["error"]["message"]) == (400, True)
        status, answer = running.ask({"messages": [{"role": "user", "content": "endless"}]})
        assert (status, "steps" in answer["error"]["message"]) == (400, True)
        assert running.ask({"messages": [USER], "max_tokens": 2})[0] == 200


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("[" * 50_000, 400),
        ('{"a":' * 33 + "1" + "}" * 33, 400),
        ('{"a":' * 32 + "1" + "}" * 32, 200),
        (nested(33), 400),
        ("{" + "[{" * 3, 200),
    ],
)
def test_arguments_are_as_deep_as_the_environment_takes_them(
    local: Running, arguments: Any, status: int
) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "F", "arguments": arguments}}
    said = [USER, {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "[" * 50_000}, USER]  # fmt: skip
    found, answer = local.ask({"messages": said, "max_tokens": 2})
    assert found == status, answer


@pytest.mark.parametrize("levels", [66, 900])
def test_schemas_are_not_deeper_than_anybody_writes_them(local: Running, levels: int) -> None:
    for fields in (
        {"tools": [function(nested(levels))]},
        {"response_format": schema_of(nested(levels))},
    ):
        assert local.ask({"messages": [USER], **fields})[0] == 400


def test_a_prompt_far_too_long_is_refused_without_reading_it(local: Running) -> None:
    text = "cafe in Bergen " * 70_000
    status, answer = local.ask({"messages": [{"role": "user", "content": text}]})
    assert status == 400
    assert "characters without all the earlier turns" in answer["error"]["message"]


def test_what_a_client_asked_that_is_gone_is_not_written_to_its_end(folder: Path) -> None:
    from agent_gym_env.lm.transformers_client import TransformersClient

    model = TransformersClient(folder, max_new_tokens=10**6, context=10**7)
    endless = schema_of({"type": "string", "minLength": 10**5})
    body = msgspec.json.encode({"messages": [USER], "response_format": endless})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}"
    with Running(model) as running:
        for _ in range(2):
            connection = socket.create_connection(("127.0.0.1", running.port), timeout=30)
            connection.sendall(f"{head}\r\n\r\n".encode() + body)
            while not model._lock.locked():
                threading.Event().wait(0.01)
            connection.close()
        assert running.ask({"messages": [USER], "max_tokens": 2})[0] == 200


def test_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "MAX_HELD_BYTES", 1000)
    with Running(ScriptedLM(lambda request: "done")) as running:
        slow = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n"
        slow.sendall(f"{head}\r\n".encode() + b" " * 800)
        large = {"messages": [{"role": "user", "content": "a" * 700}]}
        statuses = {running.ask(large)[0] for _ in range(20)}
        assert 429 in statuses
        slow.close()
        assert running.ask({"messages": [USER]})[0] == 200


def test_requests_of_many_clients_are_answered_in_batches(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra train is not installed")
    pytest.importorskip("llguidance", reason="the extra train is not installed")
    from agent_gym_env.lm.transformers_client import TransformersClient
    from tests.local_models import write_model

    model = TransformersClient(write_model(tmp_path / "tiny"))
    requests = [Request([{"role": "user", "content": f"Hi {n}"}], max_tokens=8) for n in range(24)]
    expected = [model.complete(request).text for request in requests]
    before = model.counts.batches
    with Running(model) as running:
        outcomes = local_client("tiny", running.base).complete_many(requests)
    assert [o.text for o in outcomes if isinstance(o, Response)] == expected
    # On an idle machine there are about five; on a busy one few requests wait at the same time.
    assert model.counts.batches - before < 24
