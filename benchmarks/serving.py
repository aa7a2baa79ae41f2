"""Command: measure steps over WebSocket, for many clients at once.

Beside our server it measures the same messages through the bare framework (a WebSocket of
Starlette, on which FastAPI is built, that sends as many bytes back), and the same steps in one
process without a server. The clients run in a separate process, in one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.server.session import Session

ACTION = "Which city do you prefer?"
_WARM_STEPS = 5
"""Steps of each client before the measurement."""


class Measured(NamedTuple):
    """Measurement of many clients.

    Attributes:
        steps_per_s: steps of all clients per second.
        p50_ms: median time of a step, in milliseconds.
        p99_ms: time of a step that one of a hundred exceeds, in milliseconds.
        server_cpu_us: CPU time of the server for a step, in microseconds.
        server_mb: largest memory of the server, in megabytes.
    """

    steps_per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    server_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--env", default="SGD-v0")
    parser.add_argument("--corpus", default="sample", help="sample, sgd, or a path")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument(
        "--openenv-echo",
        metavar="URL",
        help="measure the echo environment that `openenv init` writes, too, at ws://HOST:PORT/ws",
    )
    parser.add_argument("--keep", action="store_true", help="keep a snapshot after each step")
    chosen = parser.parse_args(arguments)
    opening = {
        "type": "open",
        "env": chosen.env,
        "arguments": {"corpus": chosen.corpus, "split": chosen.split},
        "keep": chosen.keep,
    }
    in_process, reply_bytes = _in_process(opening, chosen.steps)
    ours = _measured(_serve, chosen.corpus, opening, chosen)
    echo = _measured(_echo, reply_bytes, None, chosen)
    print(f"{chosen.env}, {chosen.clients} clients, {chosen.steps:,} steps; {reply_bytes:,} bytes")
    print(f"in one process, without a server: {in_process:,.0f} steps/s")
    for name, found in (("agent-gym serve", ours), ("echo of the bare framework", echo)):
        print(
            f"{name}: {found.steps_per_s:,.0f} steps/s; p50 {found.p50_ms:.1f} ms, p99 "
            f"{found.p99_ms:.1f} ms; {found.server_cpu_us:.0f} us of CPU a step; "
            f"{found.server_mb:.0f} MB"
        )
    print(f"ours against the echo: {ours.steps_per_s / echo.steps_per_s:.2f}")
    if chosen.openenv_echo:
        rate, times = _timed(chosen.openenv_echo, _openenv_messages(reply_bytes), chosen)
        print(
            f"OpenEnv's echo: {rate:,.0f} steps/s; p50 {_ms(times, 50):.1f} ms, "
            f"p99 {_ms(times, 99):.1f} ms"
        )
    return 0


class Messages(NamedTuple):
    """Messages of a client.

    Attributes:
        first: messages before the steps.
        step: message of each step.
        again: message after an episode has ended.
    """

    first: tuple[str, ...]
    step: str
    again: str


def _our_messages(opening: dict[str, Any] | None) -> Messages:
    reset = json.dumps({"type": "reset"})
    first = (reset,) if opening is None else (json.dumps(opening), reset)
    return Messages(first, json.dumps({"type": "step", "action": ACTION}), reset)


def _openenv_messages(size: int) -> Messages:
    reset = json.dumps({"type": "reset", "data": {}})
    step = json.dumps({"type": "step", "data": {"message": "x" * size}})
    return Messages((reset,), step, reset)


def _in_process(opening: dict[str, Any], steps: int) -> tuple[float, int]:
    """Return the steps per second of one session without a server, and a reply's mean size."""
    session = Session(opening["env"], opening["arguments"])
    session.reset(seed=0)
    size = 0
    begin = time.perf_counter()
    for _ in range(steps):
        reply = session.step(ACTION)
        size += len(msgspec.json.encode(reply))
        if reply.over:
            session.reset()
    return steps / (time.perf_counter() - begin), size // steps


def _serve(corpus: str, port: Any) -> None:
    """Run our server in a process."""
    from agent_gym_env.cli.serve import check_settings
    from agent_gym_env.server.app import ServerConfig, serve
    from agent_gym_env.server.permissions import Permissions
    from agent_gym_env.server.sessions import SessionLimits

    signal.signal(signal.SIGTERM, _ended_by_server)
    with TemporaryDirectory(prefix="agent-gym-bench-") as folder:
        config = ServerConfig(
            Path(folder),
            port=0,
            permissions=Permissions(corpora=("sample", "sgd", corpus)),
            limits=SessionLimits(number=1024),
        )
        serve(config, check_settings=check_settings, on_ready=port.put)


def _echo(size: int, port: Any) -> None:
    """Run a server that answers each message by as many bytes as an environment's reply."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocketDisconnect

    from agent_gym_env.lm.http_access import address_of, listener
    from agent_gym_env.server.http_server import uvicorn_config

    signal.signal(signal.SIGTERM, _ended_by_server)
    answer = json.dumps({"type": "reply", "reply": {"terminated": False, "fill": "x" * size}})

    async def play(socket: Any) -> None:
        await socket.accept()
        try:
            while True:
                await socket.receive_text()
                await socket.send_text(answer)
        except WebSocketDisconnect:
            return

    app = Starlette(routes=[WebSocketRoute("/v1/sessions/ws", play)])
    with listener("127.0.0.1", 0, api_key=None) as listening:
        port.put(address_of(listening, "127.0.0.1"))
        uvicorn.Server(uvicorn_config(app)).run(sockets=[listening])


def _ended_by_server(*_: object) -> None:
    """Do nothing: uvicorn ends at the signal, and sends it again when it has ended."""


def _cpu_s(pid: int | None) -> float:
    """Return the CPU time of a process so far, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _largest_mb(pid: int | None) -> float:
    """Return the largest memory of a process so far, in megabytes (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else math.nan


def _measured(
    server: Any, argument: Any, opening: dict[str, Any] | None, chosen: argparse.Namespace
) -> Measured:
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=server, args=(argument, port))
    process.start()
    try:
        url = port.get().replace("http", "ws") + "/v1/sessions/ws"
        messages = _our_messages(opening)
        asyncio.run(_play_all(url, messages, chosen.clients, _WARM_STEPS))
        before_s = _cpu_s(process.pid)
        rate, times = _timed(url, messages, chosen)
        cpu_s, server_mb = _cpu_s(process.pid) - before_s, _largest_mb(process.pid)
    finally:
        process.terminate()
    process.join()
    return Measured(rate, _ms(times, 50), _ms(times, 99), cpu_s / len(times) * 1e6, server_mb)


def _ms(times: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted times, in milliseconds."""
    return times[len(times) * percent // 100] * 1e3


def _timed(url: str, messages: Messages, chosen: argparse.Namespace) -> tuple[float, list[float]]:
    """Return the steps per second of all clients, and the sorted times of the steps."""
    begin = time.perf_counter()
    times = asyncio.run(_play_all(url, messages, chosen.clients, chosen.steps // chosen.clients))
    return len(times) / (time.perf_counter() - begin), sorted(times)


async def _play_all(url: str, messages: Messages, clients: int, steps: int) -> list[float]:
    times: list[float] = []
    await asyncio.gather(*(_play(url, messages, steps, times) for _ in range(clients)))
    return times


async def _play(url: str, messages: Messages, steps: int, times: list[float]) -> None:
    from websockets.asyncio.client import connect

    async with connect(url, compression=None, max_size=None) as socket:
        for message in messages.first:
            await socket.send(message)
            await socket.recv()
        for _ in range(steps):
            begin = time.perf_counter()
            await socket.send(messages.step)
            reply = await socket.recv()
            times.append(time.perf_counter() - begin)
            if '"terminated":true' in reply:  # ours; an echo never ends
                await socket.send(messages.again)
                await socket.recv()


if __name__ == "__main__":
    sys.exit(main())
