"""The server over real HTTP and WebSocket: sessions, limits, and what it refuses."""

from __future__ import annotations

import html
import json
import resource
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from gymnasium.error import ResetNeeded
from websockets.sync.client import connect

from agent_gym_env.client import ServerError
from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.server import sessions
from agent_gym_env.server.guard import MAX_BODY_BYTES
from agent_gym_env.server.http_server import ImpatientHTTP
from agent_gym_env.server.session import Reply
from agent_gym_env.server.sessions import SessionLimits
from tests.hubs.ways import Player, action_of, in_process, played
from tests.server.running import LONGEST_WAIT_S, Running, wait_for

DEV = {"arguments": {"split": "dev"}}
ACTIONS: list[Any] = [
    "Which city do you prefer?",
    {"text": "", "tool_calls": '[{"name": "Nothing", "arguments": {}}]'},
    {"text": "Done.", "tool_calls": ""},
    {"role": "assistant", "content": "Anything else?"},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("runs")) as running:
        yield running


def _opened(server: Running, **body: Any) -> str:
    status, answer, _ = server.ask("POST", "/v1/sessions", {**DEV, **body})
    assert status == 200, answer
    return str(answer["session"])


@contextmanager
def _over_rest(server: Running, env_id: str) -> Iterator[Player]:
    path = f"/v1/sessions/{_opened(server, env=env_id)}"

    def ask(method: str, body: dict[str, Any]) -> Reply:
        status, answer, _ = server.ask("POST", f"{path}/{method}", body)
        assert status == 200, answer
        return msgspec.convert(answer["reply"], Reply)

    yield Player(
        lambda seed: ask("reset", {"seed": seed}), lambda s: ask("step", {"action": action_of(s)})
    )
    assert server.ask("DELETE", path)[1] == {"type": "closed"}
    assert server.ask("POST", f"{path}/step", {"action": "Hello."})[0] == 404


@contextmanager
def _over_websocket(server: Running, env_id: str) -> Iterator[Player]:
    env = server.client().make(env_id, split="dev")

    def reset(seed: int) -> Reply:
        observation, info = env.reset(seed=seed)
        return Reply(observation, None, False, False, info)

    yield Player(reset, lambda step: Reply(*env.step(action_of(step))))
    env.close()


@pytest.mark.parametrize("way", [_over_rest, _over_websocket])
@pytest.mark.parametrize("env_id", ["SGD-v0", "SGDSim-v0"])
def test_every_way_to_the_server_gives_the_bytes_of_a_session(
    server: Running, env_id: str, way: Any
) -> None:
    with in_process(env_id, DEV["arguments"]) as player:
        expected = played(player, 3)
    with way(server, env_id) as player:
        assert played(player, 3) == expected


@pytest.mark.parametrize("env_id", ["SGD-v0", "SGDSim-v0"])
def test_a_snapshot_is_returned_to(server: Running, env_id: str) -> None:
    env = server.client().make(env_id, split="dev")
    env.reset(seed=3)
    state = env.get_state()
    ahead = env.step("Goodbye.")
    env.set_state(state)
    assert env.step("Goodbye.") == ahead
    path = f"/v1/sessions/{_opened(server, env=env_id)}"
    again = server.ask("PUT", f"{path}/state", {"state": state})[1]
    assert again["reply"] == state["reply"]
    assert server.ask("GET", f"{path}/state")[1]["state"] == state
    env.close()


def test_errors_arrive_as_the_errors_of_the_environment(server: Running) -> None:
    client = server.client()
    with pytest.raises(ValueError, match="has no option 'spilt'"):
        client.make("SGD-v0", spilt="dev")
    with pytest.raises(ServerError, match="the corpus must be one of sample, sgd"):
        client.make("SGD-v0", corpus="/etc")
    env = client.make("SGD-v0", split="dev")
    with pytest.raises(ResetNeeded):
        env.step("Hello.")
    with pytest.raises(DataError):
        env.reset(options={"dialogue_id": "nowhere"})
    env.reset(seed=0)
    with pytest.raises(ValueError, match="this is int"):
        env.step(5)
    env.step("Hello.")
    assert env.steps == 1
    env.close()
    with pytest.raises(ServerError):
        env.step("Hello?")


def test_a_kept_session_is_restored_and_the_first_connection_loses_it(server: Running) -> None:
    client = server.client()
    first = client.make("SGDSim-v0", split="dev", render_mode="ansi", keep=True)
    first.reset(seed=4)
    last = first.step(ACTIONS[0])
    second = client.restore(first.session)
    assert (second.last, second.steps) == (last, 1)
    assert "Which city" in str(second.render())
    with pytest.raises(ServerError, match="another client has restored it"):
        first.step(ACTIONS[1])
    ahead = second.step(ACTIONS[1])
    assert first.reconnect() == 2
    assert first.last == ahead
    first.close()
    with pytest.raises(ServerError, match="no session"):
        client.restore(first.session)


def test_a_session_that_several_restore_at_once_is_open_once(server: Running) -> None:
    env = server.client().make(split="dev", keep=True)
    env.reset(seed=4)
    open_before = len(server.app.state.sessions)
    body = {"session": env.session}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.ask, "POST", "/v1/sessions", body) for _ in range(8)]
        assert {each.result()[0] for each in asked} == {200}
    assert len(server.app.state.sessions) == open_before
    env.reconnect()
    env.close()


def test_a_late_answer_is_not_taken_for_that_of_another_request(server: Running) -> None:
    client = server.client()
    env = client.make(split="dev", keep=True)
    env.reset(seed=4)
    client._timeout_s = 0.0
    with pytest.raises(ServerError, match="broke off"):
        env.step("Which city?")
    client._timeout_s = LONGEST_WAIT_S
    with pytest.raises(ServerError, match="broke off"):
        env.reset(seed=5)
    assert env.reconnect() in (0, 1)
    env.close()


@pytest.mark.parametrize("steps", [-1, 2**70])
def test_a_state_that_nobody_can_have_is_refused(server: Running, steps: int) -> None:
    path = f"/v1/sessions/{_opened(server)}"
    server.ask("POST", f"{path}/reset", {"seed": 1})
    state = server.ask("GET", f"{path}/state")[1]["state"]
    body = json.dumps({"state": {**state, "steps": steps}}).encode()
    status, answer, _ = server.ask("PUT", f"{path}/state", body)
    assert (status, answer["error"]["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    "arguments",
    [
        {"corpus": "../secret"},
        {"corpus": {"name": "logs", "path": "/etc/passwd"}},
        {"reward": "os:system"},
        {"reward": {"name": "rubric", "criteria": "/etc/passwd"}},
        {"reward": {"name": "llm_judge", "model": {"api_base": "http://example.org"}}},
        {"tool_backend": "python"},
        {"tool_backend": ["python"]},
        {"tool_backend": {"name": ["mcp"]}},
        {"tool_backend": {"name": "mcp", "command": ["sh"]}},
        {"user": {"name": "llm", "model": {"cache": "~/x"}}},
        {"services": ["..\\up"]},
        {"reward": {"name": "llm_judge", "model": "huggingface/http://127.0.0.1:9/x"}},
        {"user": {"name": "llm", "model": {"cache": ".agent-gym/jobs"}}},
    ],
)
def test_what_only_the_operator_may_name_is_refused(
    server: Running, arguments: dict[str, Any]
) -> None:
    status, answer, _ = server.ask("POST", "/v1/sessions", {"arguments": arguments})
    assert (status, answer["error"]["code"]) == (403, "forbidden")
    body = {"command": "evaluate", "settings": {"policy": ["silent"], "env": arguments}}
    assert server.ask("POST", "/v1/runs", body)[0] == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 422),
        (b'{"enf": "SGD-v0"}', 422),
        (b'{"env": 5}', 422),
        (b'{"env": "SGD-v9"}', 422),
        (b'{"env": "antigravity:SGD-v0"}', 422),
        (b'{"env": "SGD-v0", "arguments": {"env": "SGDSim-v0"}}', 422),
        (b'{"arguments": {"render_mode": 5}}', 422),
        (b'{"arguments": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 422),
        (b'{"arguments": {"services": ' + b"[" * 70 + b"]" * 70 + b"}}", 422),
        (b'{"session": "../../etc/passwd"}', 404),
        (b'{"session": "' + b"A" * 22 + b'"}', 404),
    ],
)
def test_malformed_requests_are_answered(server: Running, body: bytes, status: int) -> None:
    found, answer, _ = server.ask("POST", "/v1/sessions", body)
    assert found == status, answer
    assert set(answer["error"]) >= {"code", "message"}


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        size = 100 << 20
        head = f"POST /v1/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {size}\r\n\r\n"
        client.sendall(head.encode())
        sent = 0
        try:
            while sent < size:
                sent += client.send(b" " * (1 << 16))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < MAX_BODY_BYTES + (32 << 20)  # what fits the buffers of the system
    assert server.ask("GET", "/health")[0] == 200


def test_clients_that_send_nothing_or_slowly_do_not_keep_others_waiting(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 5000:
        pytest.skip("this process may not open 5,000 files")
    monkeypatch.setattr(ImpatientHTTP, "head_timeout_s", 2.0)
    with ExitStack() as opened:
        place = ("127.0.0.1", server.port)
        clients = [
            opened.enter_context(socket.create_connection(place, timeout=LONGEST_WAIT_S))
            for _ in range(2000)
        ]
        for client in clients[::4]:
            client.sendall(b"GET /health HT")
        for client in clients[1::4]:
            client.sendall(b"POST /v1/sessions HTTP/1.1\r\nhost: localhost\r\n")
            client.sendall(b"content-length: 9\r\n\r\n{")
        env = server.client().make("SGD-v0", split="dev")
        env.reset(seed=0)
        env.step("Hello.")
        env.close()
        for client in (clients[0], clients[2]):
            assert client.recv(1 << 16) == b""  # the server has closed it


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "example.org"}, 403),
        ({"origin": "http://example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({}, 200),
    ],
)
def test_web_pages_of_others_are_refused(
    server: Running, headers: dict[str, str], status: int
) -> None:
    assert server.ask("GET", "/v1/runs", None, **headers)[0] == status
    if status == 403 and "host" not in headers:
        with pytest.raises(Exception, match="403"):
            connect(f"ws://127.0.0.1:{server.port}/v1/sessions/ws", additional_headers=headers)


def test_an_allowed_origin_may_ask(tmp_path: Path) -> None:
    mine = "http://localhost:3000"
    with Running(tmp_path, origins=(mine,)) as server:
        status, _, headers = server.ask("GET", "/v1/runs", origin=mine)
        assert (status, headers["access-control-allow-origin"]) == (200, mine)
        status, _, headers = server.ask("OPTIONS", "/v1/runs", origin=mine)
        assert headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
        assert status == 204
        assert server.ask("GET", "/v1/runs", origin="http://localhost:3001")[0] == 403


def test_a_server_with_a_key_asks_for_it(tmp_path: Path) -> None:
    with Running(tmp_path, api_key="a long key") as server:
        assert server.ask("GET", "/health")[0] == 200
        for sent in ("", "Bearer another", "Basic a long key", "Bearer é"):
            status, answer, _ = server.ask("GET", "/v1/runs", authorization=sent)
            assert (status, answer["error"]["code"]) == (401, "unauthorized")
        assert server.ask("GET", "/v1/runs", authorization="Bearer a long key")[0] == 200
        with pytest.raises(ServerError):
            server.client(api_key="another").make("SGD-v0")
        env = server.client(api_key="a long key").make("SGD-v0")
        env.reset(seed=0)
        env.close()


def test_a_browser_enters_the_key_once(tmp_path: Path) -> None:
    with Running(tmp_path, api_key="a long key") as server, httpx.Client() as browser:
        asked = browser.get(f"{server.url}/view", headers={"accept": "text/html"})
        assert (asked.status_code, asked.headers["location"]) == (303, "/login")
        assert browser.get(f"{server.url}/view/static/report.css").status_code == 200
        assert "Key of this server" in browser.get(f"{server.url}/login").text
        assert browser.post(f"{server.url}/login", data={"key": "another"}).status_code == 401
        entered = browser.post(f"{server.url}/login", data={"key": "a long key"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/view")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "a long key" not in cookie
        assert "<h1>" in browser.get(f"{server.url}/view").text
        assert browser.get(f"{server.url}/v1/runs").json() == []


def test_what_a_killed_server_was_writing_is_left_out_and_damage_is_told(tmp_path: Path) -> None:
    with Running(tmp_path) as server:
        env = server.client().make("SGD-v0", split="dev", keep=True)
        env.reset(seed=1)
        last = env.step("Which city?")
        (path,) = (tmp_path / ".agent-gym" / "sessions").iterdir()
        with path.open("ab") as file:
            file.write(b'{"environment":{"vers')
        assert env.reconnect() == 1
        assert env.last == last
        path.write_bytes(b"{}\n")
        with pytest.raises(ServerError, match="cannot be restored"):
            env.reconnect()


def test_the_file_of_a_kept_session_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_MAX_KEPT_BYTES", 20_000)
    with Running(tmp_path) as server:
        env = server.client().make("SGD-v0", split="dev", keep=True)
        for seed in range(20):
            env.reset(seed=seed)
            last = env.step("Which city?")
        (path,) = (tmp_path / ".agent-gym" / "sessions").iterdir()
        assert path.stat().st_size < 40_000
        assert env.reconnect() == 1
        assert env.last == last
        env.close()
        assert not path.exists()


def test_the_number_of_sessions_and_their_rate_are_limited(tmp_path: Path) -> None:
    with Running(tmp_path, limits=SessionLimits(number=2, steps_per_s=1.0)) as server:
        sessions = [_opened(server) for _ in range(2)]
        status, answer, headers = server.ask("POST", "/v1/sessions", DEV)
        assert (status, answer["error"]["code"]) == (503, "too_many_sessions")
        assert int(headers["retry-after"]) > 0
        path = f"/v1/sessions/{sessions[0]}"
        server.ask("POST", f"{path}/reset", {"seed": 0})
        statuses = [server.ask("POST", f"{path}/step", {"action": "Hi."})[0] for _ in range(20)]
        assert statuses[0] == 200
        assert 429 in statuses
        server.ask("DELETE", path)
        _opened(server)


def test_a_session_that_cannot_be_kept_is_not_left_open(tmp_path: Path) -> None:
    with Running(tmp_path) as server:
        (tmp_path / ".agent-gym" / "sessions").write_text("not a folder")
        status, answer, _ = server.ask("POST", "/v1/sessions", {**DEV, "keep": True})
        assert (status, answer["error"]["code"]) == (507, "storage")
        assert len(server.app.state.sessions) == 0


def test_a_step_that_cannot_be_kept_was_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_gym_env.server.sessions._MAX_KEPT_BYTES", 0)  # a new file each time
    with Running(tmp_path) as server:
        env = server.client().make("SGDSim-v0", split="dev", keep=True)
        env.reset(seed=4)
        state = env.get_state()
        folder, away = tmp_path / ".agent-gym" / "sessions", tmp_path / "away"
        folder.rename(away)
        folder.write_text("not a folder")
        with pytest.raises(StorageError):
            env.step(ACTIONS[0])
        assert env.get_state() == state
        folder.unlink()
        away.rename(folder)
        found = env.step(ACTIONS[0])
        assert server.client().restore(env.session).last == found


def test_an_idle_session_is_closed_and_a_kept_one_can_be_restored(tmp_path: Path) -> None:
    with Running(tmp_path, limits=SessionLimits(idle_s=0.01)) as server:
        idle, kept = _opened(server), _opened(server, keep=True)
        wait_for(lambda: len(server.app.state.sessions) == 0)
        assert server.ask("GET", f"/v1/sessions/{idle}/state")[0] == 404
        status, answer, _ = server.ask("POST", "/v1/sessions", {"session": kept})
        assert (status, answer["session"], answer["reply"]) == (200, kept, None)


def test_a_connection_that_misbehaves_is_answered_or_closed(server: Running) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/v1/sessions/ws") as client:
        for message, code in (
            ("{", "not_json"),
            ('{"type": "dance"}', "invalid"),
            ('{"type": "step", "action": "Hi."}', "unknown_session"),
            ('{"type": "open", "env": "SGD-v9"}', "invalid"),
        ):
            client.send(message)
            answer = json.loads(client.recv(timeout=60))
            assert (answer["type"], answer["error"]["code"]) == ("error", code)
        client.send(json.dumps({"type": "open", **DEV}))
        assert json.loads(client.recv(timeout=60))["type"] == "opened"
        # The head of a frame of 2 MiB, alone: the server answers before a client could send all.
        client.socket.sendall(b"\x81\xff" + (2 << 20).to_bytes(8, "big") + b"mask")
        with pytest.raises(Exception, match="1009"):
            client.recv(timeout=60)
    wait_for(lambda: server.ask("GET", "/health")[0] == 200)


def test_bytes_are_answered_and_the_session_goes_on(server: Running) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/v1/sessions/ws") as client:
        client.send(json.dumps({"type": "open", **DEV}))
        client.recv(timeout=60)
        client.send(b'{"type": "reset"}')
        assert json.loads(client.recv(timeout=60))["error"]["code"] == "not_json"
        client.send('{"type": "reset"}')
        assert json.loads(client.recv(timeout=60))["type"] == "reply"


def test_messages_that_came_at_once_do_not_keep_others_waiting(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    open_before = len(server.app.state.sessions)
    client = connect(f"ws://127.0.0.1:{server.port}/v1/sessions/ws").__enter__()
    client.send(json.dumps({"type": "open", **DEV}))
    client.recv(timeout=60)
    for _ in range(3000):
        client.send('{"type": "reset", "seed": 1}')
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()  # without a word
    wait_for(lambda: len(server.app.state.sessions) == open_before)
    # The server heard of it between two messages, not after all of them.
    assert len([each for each in caplog.records if each.name == "asyncio"]) < 100


def test_the_api_is_described(server: Running) -> None:
    document = server.ask("GET", "/openapi.json")[1]
    paths = document["paths"]
    assert {"/v1/sessions", "/v1/runs", "/v1/runs/{run}/events", "/v1/environments"} <= set(paths)
    body = paths["/v1/sessions/{session}/step"]["post"]["requestBody"]
    assert (
        "action" in body["content"]["application/json"]["schema"]["$defs"]["StepBody"]["properties"]
    )
    page = httpx.get(f"{server.url}/api")
    assert page.headers["content-type"].startswith("text/html")
    for path in paths:
        assert html.escape(path) in page.text
    assert "StepBody" in page.text
    environments = server.client().environments()
    assert set(environments) == {"SGD-v0", "Traces-v0", "SGDSim-v0"}
    assert environments["SGDSim-v0"]["arguments"]["patience"]["default"] == 4
