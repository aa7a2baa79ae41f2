"""Commands that run in separate processes and are stopped at a chosen moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lm.server import LMServer
from tests.lm.wire_formats import ChatRequest

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
"""Time limit of a command, 20 times what any needs on an idle machine."""

_RUN = "import sys; from agent_gym_env.cli.main import main; sys.exit(main(sys.argv[1:]))"
_RUN_UNTIL = """
import os, sys
event, end = sys.argv[1:3]
def watch(name, arguments):
    if name == event and any(str(each).endswith(end) for each in arguments):
        os.kill(os.getpid(), 9)
sys.addaudithook(watch)
from agent_gym_env.cli.main import main
sys.exit(main(sys.argv[3:]))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip


def killed_before(
    event: str, end: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that is killed, as by ``kill -9``, before a certain operation on a file.

    Args:
        event: audit event of the operation, for `sys.addaudithook`: ``open``, ``os.rename``, ….
        end: end of the path of the file.
        *arguments: arguments of the command.
        **environment: additional environment variables.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN_UNTIL, event, end, *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    return done


def stopped_at_request(
    server: LMServer,
    number: int,
    signal: int,
    arguments: Sequence[str],
    ready: Callable[[], object] = lambda: True,
) -> subprocess.CompletedProcess[str]:
    """Run a command, and send it a signal while it waits for the answer to a request.

    Args:
        server: server that the command sends its requests to.
        number: number of the request, from 1.
        signal: signal to send.
        arguments: arguments of the command.
        ready: the signal is sent only once this is true. The command may send many requests at
            once, so an earlier answer may still be on its way when this request arrives.
    """
    with _holding(server, number) as is_waiting:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert is_waiting.wait(LIMIT_S), "the command has not asked so often"
            limit = time.monotonic() + LIMIT_S
            while not ready():
                assert time.monotonic() < limit, "the command waits, but is not ready to be stopped"
                time.sleep(0.05)
            process.send_signal(signal)
            out, err = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            process.wait()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@contextmanager
def _holding(server: LMServer, number: int) -> Iterator[threading.Event]:
    """Keep the answer to a request, and to all that follow, back."""
    agent, is_waiting = server.agent, threading.Event()
    begun = len(server.exchanges)

    def hold(request: ChatRequest) -> object:
        if len(server.exchanges) - begun + 1 >= number:
            server.delay_s = 10.0 * LIMIT_S
            is_waiting.set()
        return agent(request)

    server.agent = hold  # type: ignore[assignment]
    try:
        yield is_waiting
    finally:
        server.agent, server.delay_s = agent, 0.0


def llm(server: LMServer, **options: object) -> str:
    """Configure a policy that asks a server."""
    policy = {"name": "llm", "client": "local", "model": "any", "api_base": server.openai_base}
    return json.dumps({**policy, **options})
