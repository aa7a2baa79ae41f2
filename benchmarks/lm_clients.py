"""Overhead of our clients over the libraries they use: ``python -m benchmarks.lm_clients``.

A server in a separate process answers each request after 50 ms. The same number of requests, as
many at once, goes through bare litellm, our client on litellm, bare aiohttp and the lean client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.client import BACKGROUND, RemoteLM
from agent_gym_env.lm.litellm_client import litellm_client
from agent_gym_env.lm.retry import Limits
from benchmarks.measure import ROOT

MODEL = "bench"
KEY = "a-key-of-the-benchmark"
MESSAGES = [
    {"role": "system", "content": "You help people to find a table. " * 20},
    {"role": "user", "content": "A table for two in Oakland, please."},
]


@dataclass(frozen=True)
class Speed:
    """Speed of one client.

    Attributes:
        per_s: answers per second.
        per_cpu_s: answers per processor second of this process.
    """

    per_s: float
    per_cpu_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_clients", description=__doc__)
    parser.add_argument("--calls", type=int, default=1024, help="through each client")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--delay-s", type=float, default=0.05, help="of the server")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many rounds")
    chosen = parser.parse_args(arguments)
    with server(chosen.delay_s) as url:
        base = f"{url}/v1"
        clients = _clients(base, chosen.calls, chosen.concurrency)
        speeds = {
            name: speed
            for names in (("lean", "bare aiohttp"), ("ours on litellm", "bare litellm"))
            for name, speed in _speeds(
                {name: clients[name] for name in names}, chosen.calls, chosen.repeats
            )
        }
        saved = _cached_share(base, chosen.calls, chosen.concurrency)
    for name, speed in speeds.items():
        print(f"{name:18} {speed.per_s:8.0f} calls/s  {speed.per_cpu_s:8.0f} calls/CPU-s")
    promises = (
        ("our client on litellm / bare litellm, calls/s", 0.8,
         speeds["ours on litellm"].per_s / speeds["bare litellm"].per_s),
        ("lean client / bare aiohttp, calls/s", 0.6,
         speeds["lean"].per_s / speeds["bare aiohttp"].per_s),
        ("lean client / our client on litellm, calls/CPU-s", 5.0,
         speeds["lean"].per_cpu_s / speeds["ours on litellm"].per_cpu_s),
        ("second run answered from the cache, share", 1.0, saved),
    )  # fmt: skip
    for what, hold, measured in promises:
        verdict = "" if measured >= hold else "BROKEN"
        print(f"{what:50} {measured:6.2f}  >= {hold:g}  {verdict}".rstrip())
    return 0 if all(measured >= hold for _, hold, measured in promises) else 1


@contextlib.contextmanager
def server(delay_s: float) -> Iterator[str]:
    """Run the tests' server in a separate process; yield its URL."""
    command = [sys.executable, "-m", "tests.lm.server", "--delay-s", str(delay_s)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def _clients(base: str, calls: int, concurrency: int) -> dict[str, Callable[[], None]]:
    limits = Limits(concurrency=concurrency)
    requests = [Request(MESSAGES) for _ in range(calls)]

    def ours(lm: RemoteLM) -> Callable[[], None]:
        def run() -> None:
            outcomes = lm.complete_many(requests)
            failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
            if failed:
                raise RuntimeError(f"{len(failed)} of {calls} failed: {failed[0]}")

        return run

    # All on one loop: litellm keeps its queues and connections to the first that it sees. It comes
    # last, because it goes on logging what it has done.
    return {
        "lean": ours(local_client(MODEL, base, limits=limits)),
        "bare aiohttp": lambda: BACKGROUND.run(_bare_aiohttp(base, calls, concurrency)),
        "ours on litellm": ours(
            litellm_client(f"openai/{MODEL}", api_base=base, api_key=KEY, limits=limits)
        ),
        "bare litellm": lambda: BACKGROUND.run(_bare_litellm(base, calls, concurrency)),
    }


async def _bare_litellm(base: str, calls: int, concurrency: int) -> None:
    import litellm

    async def call() -> None:
        await litellm.acompletion(
            model=f"openai/{MODEL}", messages=MESSAGES, api_base=base, api_key=KEY, max_retries=0
        )

    await _all(call, calls, concurrency)


async def _bare_aiohttp(base: str, calls: int, concurrency: int) -> None:
    import aiohttp

    body = {"model": MODEL, "messages": MESSAGES}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> None:
            async with session.post(f"{base}/chat/completions", json=body) as response:
                answer = await response.json()
                assert answer["choices"][0]["message"]["content"]

        await _all(call, calls, concurrency)


async def _all(call: Callable[[], Coroutine[Any, Any, None]], calls: int, concurrency: int) -> None:
    slots = asyncio.Semaphore(concurrency)

    async def in_turn() -> None:
        async with slots:
            await call()

    await asyncio.gather(*(in_turn() for _ in range(calls)))


def _speeds(
    runs: dict[str, Callable[[], None]], calls: int, repeats: int
) -> Iterator[tuple[str, Speed]]:
    """The best of each; one after another in each round, so that a busy moment meets all."""
    for run in runs.values():
        run()  # connections and lazy imports
    rounds = [{name: _speed(run, calls) for name, run in runs.items()} for _ in range(repeats)]
    for name in runs:
        counted = [speeds[name] for speeds in rounds]
        yield name, Speed(max(s.per_s for s in counted), max(s.per_cpu_s for s in counted))


def _speed(run: Callable[[], None], calls: int) -> Speed:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Speed(calls / (time.perf_counter() - wall), calls / (time.process_time() - cpu))


def _cached_share(base: str, calls: int, concurrency: int) -> float:
    """Return the share of a second run, with another client, that the cache answers."""
    requests = [Request(MESSAGES, sample=number) for number in range(calls)]
    with tempfile.TemporaryDirectory(prefix="agent-gym-bench-") as folder:
        limits = Limits(concurrency=concurrency)
        for _ in range(2):
            lm = local_client(MODEL, base, limits=limits, cache=Path(folder))
            lm.complete_many(requests)
    return 1 - lm.budget.spent.calls / calls


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
