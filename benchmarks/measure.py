"""Time and memory of a piece of work, in this interpreter or in a new one."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Reading:
    """Time and memory of one piece of work, measured in a fresh interpreter.

    Attributes:
        cpu_s: processor seconds of the process, over all its threads.
        before_mb: resident memory before the work, in megabytes of 1,000,000 bytes.
        peak_mb: the most that was resident until the work ended.
    """

    cpu_s: float
    before_mb: float
    peak_mb: float

    @property
    def added_mb(self) -> float:
        """Memory that the work needed on top of what was there."""
        return self.peak_mb - self.before_mb


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one run."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def least_cpu_seconds(repeats: int, *works: Callable[[], object]) -> list[float]:
    """The least processor seconds of each work; they take turns, so a slow spell hits all alike."""
    rounds = [[cpu_seconds(work) for work in works] for _ in range(repeats)]
    return [min(column) for column in zip(*rounds, strict=True)]


def least_seconds_by_part(repeats: int, *works: Callable[[], Iterator[object]]) -> list[float]:
    """The sum of the least seconds of each part of each work, such as each step of a play.

    A part takes microseconds, so another process seldom interrupts the same part in every repeat.
    That makes the sums steady on a busy machine, where processor seconds of whole works are not.

    Args:
        repeats: number of times that each work is done; the works take turns.
        *works: each yields after each of its parts, always the same ones.
    """
    least = [np.full(0, np.inf)] * len(works)
    for _ in range(repeats):
        for place, work in enumerate(works):
            seconds = _part_seconds(work)
            least[place] = np.minimum(least[place], seconds) if len(least[place]) else seconds
    return [float(parts.sum()) for parts in least]


def _part_seconds(work: Callable[[], Iterator[object]]) -> NDArray[np.float64]:
    gc.collect()
    clock, seconds = time.perf_counter, array("d")
    parts = work()
    begin = clock()
    for _ in parts:
        end = clock()
        seconds.append(end - begin)
        begin = clock()
    return np.array(seconds)


def least_process_cpu_seconds(repeats: int, *commands: Sequence[str]) -> list[float]:
    """Return the least processor time of each command as a process, user and system together."""
    rounds = [[_process_cpu_seconds(command) for command in commands] for _ in range(repeats)]
    return [min(column) for column in zip(*rounds, strict=True)]


def _process_cpu_seconds(command: Sequence[str]) -> float:
    before = os.times()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    user_s = after.children_user - before.children_user
    return user_s + after.children_system - before.children_system


def read(work: Callable[[], object]) -> Reading:
    """Take a reading of this process; meant for one that does nothing else."""
    before_mb = resident_mb("VmRSS")
    cpu_s = cpu_seconds(work)
    return Reading(cpu_s, before_mb, resident_mb("VmHWM"))


def resident_mb(field: str) -> float:
    """Return a size of this process in /proc/self/status, such as VmRSS, in millions of bytes.

    This is Linux's own account: `resource` reports a parent's peak for a forked child.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")


def read_in_fresh_interpreter(work: str, *arguments: str, home: Path) -> Reading:
    """Take a reading of a work of `benchmarks.probe`, with compiled corpora under ``home``."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.probe", work, *arguments],
        cwd=ROOT,
        env={**os.environ, "AGENT_GYM_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Reading(**json.loads(done.stdout))
