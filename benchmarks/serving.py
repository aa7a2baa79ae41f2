"""Command: measure steps over WebSocket, for many clients at once.

Beside our server it measures the same messages through the bare framework (a WebSocket of
Starlette, on which FastAPI is built, that sends as many bytes back), and the same steps in one
process without a server. The clients run in a separate process, in one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
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
    return 0


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


def _serve(corpus: str, port: Any, used: Any) -> None:
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
        _put_used(used)


def _echo(size: int, port: Any, used: Any) -> None:
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
    _put_used(used)


def _ended_by_server(*_: object) -> None:
    """Do nothing: uvicorn ends at the signal, and sends it again when it has ended."""


def _put_used(used: Any) -> None:
    found = resource.getrusage(resource.RUSAGE_SELF)
    used.put((found.ru_utime + found.ru_stime, found.ru_maxrss / 1024))


def _measured(
    server: Any, argument: Any, opening: dict[str, Any] | None, chosen: argparse.Namespace
) -> Measured:
    context = multiprocessing.get_context("spawn")
    port, used = context.Queue(), context.Queue()
    process = context.Process(target=server, args=(argument, port, used))
    process.start()
    try:
        url = port.get().replace("http", "ws") + "/v1/sessions/ws"
        warm = chosen.clients * 5
        asyncio.run(_play_all(url, opening, chosen.clients, warm))
        begin = time.perf_counter()
        times = asyncio.run(_play_all(url, opening, chosen.clients, chosen.steps))
        elapsed = time.perf_counter() - begin
    finally:
        process.terminate()
    cpu_s, server_mb = used.get(timeout=60)
    process.join()
    times.sort()
    return Measured(
        len(times) / elapsed,
        times[len(times) // 2] * 1e3,
        times[len(times) * 99 // 100] * 1e3,
        cpu_s / (len(times) + warm) * 1e6,
        server_mb,
    )


async def _play_all(
    url: str, opening: dict[str, Any] | None, clients: int, steps: int
) -> list[float]:
    times: list[float] = []
    share = steps // clients
    await asyncio.gather(*(_play(url, opening, n, share, times) for n in range(clients)))
    return times


async def _play(
    url: str, opening: dict[str, Any] | None, seed: int, steps: int, times: list[float]
) -> None:
    from websockets.asyncio.client import connect

    step = json.dumps({"type": "step", "action": ACTION})
    async with connect(url, compression=None, max_size=None) as socket:
        if opening is not None:
            await socket.send(json.dumps(opening))
            await socket.recv()
        await socket.send(json.dumps({"type": "reset", "seed": seed}))
        await socket.recv()
        for _ in range(steps):
            begin = time.perf_counter()
            await socket.send(step)
            reply = await socket.recv()
            times.append(time.perf_counter() - begin)
            if '"terminated":true' in reply:  # ours; the echo has none
                await socket.send('{"type": "reset"}')
                await socket.recv()


if __name__ == "__main__":
    sys.exit(main())
