"""Calls of one model that many Ray actors share: ``python -m benchmarks.policy_server``.

``agent-gym serve-policy`` serves an untrained model from its own process. The policy ``llm`` plays
the same episodes against it, in this process and in more and more actors. The model answers
together what waits together, so the processor time of a call falls.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.assembly import collect, play_episodes
from agent_gym_env.export.from_episodes import conversation_row
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.training.tiny import make_tiny
from benchmarks.measure import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy_server", description=__doc__)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 4, 16])
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="agent-gym-bench-") as name:
        folder = Path(name)
        rows = [conversation_row(each) for each in play_episodes("oracle", episodes=16)]
        make_tiny(folder / "model", msgspec.to_builtins(rows), TinyConfig(practice=0))
        with _server(folder / "model") as (url, process):
            for actors in (0, *chosen.actors):
                print(_measure(folder / str(actors), url, process, actors, chosen.episodes))
    return 0


@contextlib.contextmanager
def _server(model: Path) -> Iterator[tuple[str, int]]:
    """Serve a model; yield the address and the id of the process."""
    command = [sys.executable, "-m", "agent_gym_env", "serve-policy", str(model)]
    options = ["--port", "0", "--max-new-tokens", "16", "--unguided", "--json"]
    with subprocess.Popen(
        [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            yield json.loads(served.stdout.readline())["url"], served.pid
        finally:
            served.terminate()


def _measure(out: Path, url: str, process: int, actors: int, episodes: int) -> str:
    policy = {"name": "llm", "client": "local", "model": "model", "api_base": url}
    runner: Any = RayRunner(actors, num_cpus=actors) if actors else "serial"
    begin, cpu_begin = time.perf_counter(), _processor_s(process)
    result = collect(policy, out, episodes=episodes, runner=runner, split="dev")
    wall_s, cpu_s = time.perf_counter() - begin, _processor_s(process) - cpu_begin
    calls = result.spending.completions
    where = f"{actors:2} actors" if actors else "serial   "
    return (
        f"{where}: {result.done} episodes, {calls} calls, {calls / wall_s:5.0f} calls/s, "
        f"{1000 * cpu_s / calls:6.2f} ms of the server's processor time a call"
    )


def _processor_s(process: int) -> float:
    """Return the processor seconds that a process has used; on Linux."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
