"""A server that is down or only fails stops the run; one that fails now and then does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import collect
from agent_gym_env.cli.main import main
from agent_gym_env.errors import CircuitOpenError, TransientLMError
from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Response
from agent_gym_env.lm.retry import is_unreachable
from tests.lm.clients import CLIENTS, FAST, asks, make_client
from tests.lm.server import Faults, LMServer


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as briefly:
        briefly.bind(("127.0.0.1", 0))
        return int(briefly.getsockname()[1])


@pytest.fixture
def hangs_up() -> Iterator[int]:
    """A port whose server hangs up on everyone, as a tunnel does whose other end is down."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(30)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_stops_at_a_server_that_refuses_connections(
    client: str, closed_port: int, server: LMServer
) -> None:
    server.url = f"http://127.0.0.1:{closed_port}"
    lm = make_client(client, server)
    with pytest.raises(CircuitOpenError, match="could not be reached 5 times in a row"):
        lm.complete(asks())


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_stops_at_a_server_that_hangs_up(
    client: str, hangs_up: int, server: LMServer
) -> None:
    server.url = f"http://127.0.0.1:{hangs_up}"
    lm = make_client(client, server)
    with pytest.raises(CircuitOpenError, match="could not be reached 5 times in a row"):
        lm.complete(asks())


def test_a_name_that_nobody_knows_stops_the_run() -> None:
    lm = local_client("any", "http://no-such-host.invalid/v1", limits=FAST)
    with pytest.raises(CircuitOpenError, match="no-such-host"):
        lm.complete(asks())


def test_a_server_that_takes_the_connection_and_never_answers_stops_the_run(
    server: LMServer,
) -> None:
    server.faults = Faults(rate=1.0, kinds=["hang"])
    lm = make_client("local", server, limits=msgspec.structs.replace(FAST, attempt_timeout_s=0.1))
    with pytest.raises(CircuitOpenError, match=r"no answer within 0\.1 s"):
        lm.complete(asks())


def test_failures_are_counted_over_completions(server: LMServer) -> None:
    server.faults = Faults(rate=1.0, kinds=["reset"])
    lm = make_client("local", server, limits=msgspec.structs.replace(FAST, max_attempts=1))
    for _ in range(4):
        with pytest.raises(TransientLMError):
            lm.complete(asks())
    with pytest.raises(CircuitOpenError, match="5 times in a row"):
        lm.complete(asks())


@pytest.mark.parametrize("answer", [None, "500"])
def test_any_answer_of_the_server_begins_the_count_again(
    answer: str | None, server: LMServer
) -> None:
    lm = make_client("local", server, limits=msgspec.structs.replace(FAST, max_attempts=1))
    server.plan(*["reset"] * 4, answer, *["reset"] * 4, None)
    kinds = [type(lm.complete_many([asks()])[0]).__name__ for _ in range(10)]
    fifth = "Response" if answer is None else "TransientLMError"
    assert kinds == [*["TransientLMError"] * 4, fifth, *["TransientLMError"] * 4, "Response"]


def test_a_server_that_restarts_under_many_requests_stops_nothing(server: LMServer) -> None:
    lm = make_client("local", server)
    # Each of 20 requests fails twice, 40 failures without an answer between them.
    server.plan(*["reset"] * 40)
    outcomes = lm.complete_many([asks()] * 20)
    assert all(isinstance(outcome, Response) for outcome in outcomes)


def test_a_server_that_is_up_again_is_asked_again(server: LMServer) -> None:
    lm = make_client("local", server)
    server.plan(*["reset"] * 6)
    with pytest.raises(CircuitOpenError):
        lm.complete(asks())
    with pytest.raises(CircuitOpenError):
        lm.complete(asks())  # which is tried once
    assert len(server.exchanges) == 6
    assert lm.complete(asks()).text == "Certainly."


def test_an_answer_that_breaks_off_is_an_answer(server: LMServer) -> None:
    server.faults = Faults(rate=1.0, kinds=["cut"])
    with pytest.raises(TransientLMError, match="failed 5 times"):
        make_client("local", server).complete(asks())


def test_an_error_that_is_not_of_the_connection_is_told_apart() -> None:
    refused, of_library = ConnectionRefusedError("nobody there"), RuntimeError("a library's own")
    of_library.__cause__ = refused
    assert is_unreachable(of_library)
    assert not is_unreachable(ValueError("no JSON"))


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_a_server_that_answers_with_errors_only_stops_the_run(
    status: str, server: LMServer
) -> None:
    server.faults = Faults(rate=1.0, kinds=[status])
    lm = make_client("local", server, limits=msgspec.structs.replace(FAST, max_attempts=2))
    for _ in range(9):
        with pytest.raises(TransientLMError, match="failed 2 times"):
            lm.complete(asks())
    with pytest.raises(CircuitOpenError, match=f"10 completions in a row .* HTTP {status}"):
        lm.complete(asks())
    assert len(server.exchanges) == 20


def test_an_answer_between_errors_begins_their_count_again(server: LMServer) -> None:
    lm = make_client("local", server, limits=msgspec.structs.replace(FAST, max_attempts=1))
    server.plan(*["503"] * 9, None, *["503"] * 9)
    outcomes = [lm.complete_many([asks()])[0] for _ in range(19)]
    assert not any(isinstance(outcome, CircuitOpenError) for outcome in outcomes)


def _policy(port: int) -> dict[str, object]:
    return {
        "name": "llm", "client": "local", "model": "any", "api_base": f"http://127.0.0.1:{port}/v1",
        "limits": {"backoff_s": 0.001, "max_backoff_s": 0.004},
    }  # fmt: skip


@pytest.mark.parametrize("runner", ["serial", "threads", "lockstep"])
def test_a_rollout_against_a_dead_server_stops_and_records_no_failed_episode(
    runner: str, closed_port: int, tmp_path: Path
) -> None:
    with pytest.raises(CircuitOpenError):
        collect(_policy(closed_port), tmp_path, episodes=30, runner=runner, workers=3)
    assert not (tmp_path / "failed.jsonl").exists()


def test_an_evaluation_goes_on_when_the_server_is_up_again(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = int(server.url.rpartition(":")[2])
    command = ["evaluate", "--policy", json.dumps(_policy(port)), "--episodes", "3"]
    server.plan(*["reset"] * 5)
    assert main([*command, "--out", str(tmp_path)]) == 3
    assert "could not be reached 5 times in a row" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path)]) == 0
