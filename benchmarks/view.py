"""Measure the pages over a large journal: ``python -m benchmarks.view --episodes 100000``.

The journal holds the sample corpus played by the oracle, over and over, with other dialogue ids. It
is written first, then read into an index through the page itself, as a browser would do.
"""

from __future__ import annotations

import argparse
import itertools
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from agent_gym_env.assembly import collect
from agent_gym_env.extras import require
from agent_gym_env.rollout.journal.format import Entry
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.rollout.journal.writing import open_journal
from agent_gym_env.server.browse.pages import add_pages
from agent_gym_env.server.browse.runs import RunFolder

fastapi: Any = require("fastapi", extra="serve")
testclient: Any = require("fastapi.testclient", extra="serve")

CONFIG = {"policies": [{"name": "oracle"}], "world": {"reward": {"name": "balanced"}}}
REQUESTS = {
    "first page": "",
    "last page": "page=last",
    "best first": "order=best",
    "a service": "service=Wallet_1",
    "a range of rewards": "low=0.2&high=0.9",
    "a kind": "kind=missed",
    "a common word": "words=account",
    "three words": "words=savings+balance+transfer",
}
_REPEATS = 5


def write_runs(folder: Path, episodes: int) -> None:
    """Write two journals of so many episodes, of the oracle and of a silent agent."""
    for policy in ("oracle", "silent"):
        with tempfile.TemporaryDirectory() as few:
            collect(policy, few)
            played = list(read_episodes(few))
        with open_journal(folder / policy, "episodes", CONFIG, episodes) as journal:
            for job, episode in zip(range(episodes), itertools.cycle(played), strict=False):
                renamed = replace(episode, dialogue_id=f"{job:07d}")
                journal.append(Entry(job), [msgspec.json.encode(renamed)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100_000, metavar="N")
    parser.add_argument("--folder", type=Path, help="folder to keep the journals in")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if not (folder / "oracle").exists():
            write_runs(folder, given.episodes)
        measure(folder)


def measure(folder: Path) -> None:
    """Open the journals as a browser does, and print the times."""
    app = fastapi.FastAPI()
    add_pages(app, folder)
    client = testclient.TestClient(app)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, seconds = timed(lambda: client.get("/view"))
    print(f"list of runs: {seconds:.2f} s")
    runs = {run.path.name: run for run in RunFolder(folder).runs()}
    for name, run in runs.items():
        address = f"/view/runs/{run.id}"
        cpu, begun = time.process_time(), time.perf_counter()
        _, seconds = timed(lambda address=address: client.get(address))  # type: ignore[misc]
        print(f"{name}: {run.size_bytes / 1e6:.0f} MB; the page came after {seconds:.2f} s")
        while "Reading the run" in client.get(address).text:
            time.sleep(5)
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        print(f"{name}: read after {wall:.1f} s, {cpu:.1f} s of CPU")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory above that of the server: {grown / 1024:.0f} MB")
    address = f"/view/runs/{runs['silent'].id}"
    found = re.search(r"page 1 of ([\d,]+)", client.get(address).text)
    pages = "1" if found is None else found[1].replace(",", "")
    for name, query in REQUESTS.items():
        asked = f"{address}?{query.replace('last', pages)}"
        show(name, lambda asked=asked: client.get(asked))  # type: ignore[misc]
    both = f"run={runs['oracle'].id}&run={runs['silent'].id}"
    show("pairs of two runs", lambda: client.get(f"/view/compare?{both}"))
    begun = time.perf_counter()
    while "Comparing" in client.get(f"/view/compare/statistics?{both}").text:
        time.sleep(0.5)
    print(f"statistics of two runs: {time.perf_counter() - begun:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory at most: {peak / 1024:.0f} MB")


def show(name: str, request: Callable[[], Any]) -> None:
    """Print the median time of a request."""
    times = []
    for _ in range(_REPEATS):
        answer, seconds = timed(request)
        if answer.status_code != 200:
            raise SystemExit(f"{name}: status {answer.status_code}")
        times.append(seconds)
    print(f"{name}: {1000 * statistics.median(times):.0f} ms")


def timed(request: Callable[[], Any]) -> tuple[Any, float]:
    """Return an answer, and the seconds that it took."""
    begun = time.perf_counter()
    answer = request()
    return answer, time.perf_counter() - begun


if __name__ == "__main__":
    main()
