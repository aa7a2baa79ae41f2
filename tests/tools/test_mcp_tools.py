from __future__ import annotations

import copy
import gc
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import make_env
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import AgentGymError
from agent_gym_env.testing import check_tool_backend
from agent_gym_env.tools.live import LiveBackend
from agent_gym_env.tools.mcp_tools import McpTools
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult
from tests import log_corpora as log
from tests.log_corpora import AirlineLog
from tests.reliability.playing import LONG

pytest.importorskip("mcp", reason="an MCP server needs it: pip install -e '.[mcp]'")

SERVER = [sys.executable, str(Path(__file__).with_name("mcp_server.py"))]

# The library may lie in a folder of this variable.
STDIO: dict[str, Any] = {"command": SERVER, "env": ["PYTHONPATH"]}


def backend_of(source: McpTools) -> LiveBackend:
    split = open_corpus(AirlineLog()).split("train")
    backend = source.backend(ToolCatalogue(split.tools))
    backend.reset(split.task(0))
    return backend


@pytest.fixture(scope="module")
def source() -> Iterator[McpTools]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRLINE_REGION", "north")
        patch.setenv("AIRLINE_SECRET", "s3cret")
        yield McpTools(command=SERVER, env=["PYTHONPATH", "AIRLINE_REGION", "NOT_SET"])
    gc.collect()


@pytest.fixture
def backend(source: McpTools) -> LiveBackend:
    return backend_of(source)


def value(result: ToolResult) -> Any:
    return msgspec.json.decode(msgspec.json.encode(result.results))


def cancel(backend: LiveBackend, booking: str) -> ToolResult:
    return backend.execute(ToolCall("cancel", {"booking": booking}))


def code(result: ToolResult) -> str:
    assert (result.status, result.results) == ("error", None)
    return (result.error or "").partition(":")[0]


def test_a_server_answers_with_structured_content(backend: LiveBackend) -> None:
    result = backend.execute(ToolCall("search_flights", dict(log.LIS_OSL.arguments)))
    expected = {"flights": ["Lisbon-Oslo"], "seats": 1}
    assert (result.status, value(result)) == ("success", expected)


def test_a_server_answers_with_text(backend: LiveBackend) -> None:
    assert value(cancel(backend, "R7")) == "Cancelled R7"


def test_an_error_of_a_tool_is_an_error_on_one_line(backend: LiveBackend) -> None:
    result = cancel(backend, "raise")
    assert code(result) == "tool_error"
    assert "\n" not in (result.error or "")
    assert code(cancel(backend, "long")) == "tool_error"


@pytest.mark.parametrize(("name", "expected"), [("nobody", "unknown_tool"), ("cancel", "missing_")])
def test_a_call_that_is_not_valid_does_not_reach_the_server(
    backend: LiveBackend, name: str, expected: str
) -> None:
    assert code(backend.execute(ToolCall(name))).startswith(expected)


def test_a_server_that_ends_is_an_error_and_the_next_call_is_answered(
    backend: LiveBackend,
) -> None:
    assert code(cancel(backend, "crash")) == "tool_crashed"
    assert value(cancel(backend, "R7")) == "Cancelled R7"


@pytest.mark.skipif(not LONG, reason="servers start slowly; AGENT_GYM_LONG=1 runs it")
def test_a_server_that_hangs_is_an_error_and_the_next_call_is_answered() -> None:
    backend = backend_of(McpTools(**STDIO, timeout_s=3.0))
    assert code(cancel(backend, "hang")) == "tool_timeout"
    assert cancel(backend, "R7").status == "success"


def test_a_server_sees_the_variables_that_are_named_and_no_others(backend: LiveBackend) -> None:
    assert value(cancel(backend, "variables")) == ["AIRLINE_REGION=north"]


@pytest.mark.skipif(not LONG, reason="servers start slowly; AGENT_GYM_LONG=1 runs it")
def test_state_lasts_for_the_environment_or_for_a_dialogue() -> None:
    def count(source: McpTools) -> int:
        found: int = value(backend_of(source).execute(ToolCall("never")))["result"]
        return found

    source = McpTools(**STDIO)
    assert [count(source), count(source)] == [1, 2]
    restarted = copy.deepcopy(source)
    restarted._options["restart"] = True
    assert [count(restarted), count(restarted)] == [1, 1]


def test_it_keeps_the_promises_of_a_backend(source: McpTools) -> None:
    env = make_env(env="Traces-v0", corpus=AirlineLog())
    check_tool_backend(source.backend, env, answers_as_recorded=False, dialogues=1)


def test_the_reward_compares_with_the_recorded_calls_whatever_the_server_answers() -> None:
    tools = {"name": "mcp", **STDIO}
    env = make_env(env="Traces-v0", corpus=AirlineLog(), reward="balanced", tool_backend=tools)
    env.reset(options={"dialogue_id": "lisbon"})
    _, reward, *_ = env.step(env.unwrapped.recorded_action())  # type: ignore[attr-defined]
    assert reward == 1.0


def test_a_server_at_an_address_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/mcp"
    with pytest.raises(AgentGymError, match="the MCP server 'http://127"):
        McpTools(url=url)
    process = subprocess.Popen([*SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.05)
        assert value(cancel(backend_of(McpTools(url=url)), "R7")) == "Cancelled R7"
    finally:
        process.kill()
        process.wait()


def test_a_server_that_does_not_start_is_refused_at_once() -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    with pytest.raises(AgentGymError) as caught:
        make_env(tool_backend={"name": "mcp", "command": command})
    assert shlex.join(command)[:10] in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"command": SERVER, "url": "http://127.0.0.1:9/mcp"}])
def test_a_server_has_either_a_command_or_an_address(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='needs either "command"'):
        make_env(tool_backend={"name": "mcp", **options})
