"""Time and memory to collect many episodes: ``python -m benchmarks.rollouts``.

Each part runs in a fresh interpreter: collecting with the named runner, resuming a complete
collection, checking, and reading back. The episodes are those of the sample corpus, played
again and again with other seeds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent_gym_env.assembly import collect
from agent_gym_env.registry import RUNNERS
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.rollout.journal.recovery import check_journal
from benchmarks.measure import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollouts", description=__doc__)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--policy", default="oracle")
    parser.add_argument("--runner", choices=RUNNERS.names(), default="serial")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the episodes there; default: nowhere")
    parser.add_argument("--part", choices=PARTS, help="only this one, here")
    chosen = parser.parse_args(arguments)
    if chosen.part:
        _measure(chosen)
        return 0
    with tempfile.TemporaryDirectory(prefix="agent-gym-bench-") as folder:
        out = chosen.out or Path(folder) / "episodes"
        for part in PARTS:
            print(f"{part:8}", _in_an_interpreter(part, chosen, out), flush=True)
        size = sum(path.stat().st_size for path in out.iterdir())
        print(f"on disk  {size / 1e6:.0f} MB, {size / chosen.episodes / 1e3:.1f} kB an episode")
    return 0


def _in_an_interpreter(part: str, chosen: argparse.Namespace, out: Path) -> str:
    options = {
        "--part": part, "--episodes": chosen.episodes, "--policy": chosen.policy,
        "--runner": chosen.runner, "--workers": chosen.workers, "--out": out,
    }  # fmt: skip
    words = [str(word) for option in options.items() for word in option]
    command = [sys.executable, "-m", "benchmarks.rollouts", *words]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return (
        f"{found['wall_s']:7.1f} s, {found['cpu_s']:7.1f} CPU-s, "
        f"{found['episodes'] / found['wall_s']:7.0f}/s, peak {found['peak_mb']:.0f} MB"
    )


def _measure(chosen: argparse.Namespace) -> None:
    wall = time.perf_counter()
    episodes = PARTS[chosen.part](chosen)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found = {
        "episodes": episodes,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in usages),
        "peak_mb": usages[0].ru_maxrss * 1024 / 1e6,
    }
    print(json.dumps(found))


def _collect(chosen: argparse.Namespace) -> int:
    return collect(
        chosen.policy,
        chosen.out,
        episodes=chosen.episodes,
        reward="balanced",
        runner=chosen.runner,
        workers=chosen.workers,
    ).done


def _check(chosen: argparse.Namespace) -> int:
    return check_journal(chosen.out).done


def _read(chosen: argparse.Namespace) -> int:
    return sum(1 for _ in read_episodes(chosen.out))


PARTS: dict[str, Callable[[argparse.Namespace], int]] = {
    "collect": _collect,
    "go on": _collect,
    "check": _check,
    "read": _read,
}

if __name__ == "__main__":
    sys.exit(main())
