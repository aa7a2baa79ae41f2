"""The promised speeds and sizes, one function for each row of the table."""

from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

import agent_gym_env  # noqa: F401  (registers the environment)
from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.locations import sample_path
from benchmarks.baselines import DO_NOTHING, NAIVE
from benchmarks.growth import grow
from benchmarks.log_file import write_log
from benchmarks.measure import (
    Reading,
    least_process_cpu_seconds,
    least_seconds_by_part,
    read_in_fresh_interpreter,
)
from benchmarks.workload import Script, Scriptwriter, batches, play, play_batches

SPLIT = "train"
DIALOGUES = 1000
NAIVE_DIALOGUES = 20
GROWTH = 100
SGD_DIALOGUES = 10_000
NUM_ENVS = 64
VECTOR_STEPS = 100
SEED = 0


@dataclass(frozen=True)
class Row:
    """One promise and its measure.

    Attributes:
        what: what is measured, and against what.
        measured: in ``unit``.
        unit: ``"x"`` for a ratio of CPU times or sizes, ``"ms"`` or ``"MB"``.
        hold: the bound; ``None`` where it is promised of SGD and this is a smaller corpus.
        at_least: whether the bound is the least or the most.
        detail: the figures behind the ratio.
    """

    what: str
    measured: float
    unit: str
    hold: float | None
    at_least: bool
    detail: str

    @property
    def holds(self) -> bool:
        """Return whether the promise is kept; true if the row makes none."""
        if self.hold is None:
            return True
        return self.measured >= self.hold if self.at_least else self.measured <= self.hold


@dataclass(frozen=True)
class Bench:
    """Corpus and folders that the rows are measured with.

    Attributes:
        corpus: a folder in SGD's format.
        home: folder of the compiled corpora, empty at first.
        scratch: an empty folder for corpora made here.
        repeats: number of measurements of each piece of work; the least counts.
        conversations: number of conversations of the log that is imported.
    """

    corpus: Path
    home: Path
    scratch: Path
    repeats: int
    conversations: int = 5000

    def split(self) -> Split:
        """The compiled split."""
        return open_corpus(self.corpus).split(SPLIT)

    def make(self, **arguments: Any) -> gym.Env[Any, Any]:
        """The environment under test, as a user gets it."""
        return gym.make("SGD-v0", corpus=str(self.corpus), split=SPLIT, **arguments)

    def of_sgd(self, hold: float) -> float | None:
        """A bound that grows with the corpus: promised of one about as large as SGD's train."""
        return hold if len(self.split()) >= SGD_DIALOGUES else None

    def readings(self, work: str, *arguments: str, repeats: int) -> list[Reading]:
        """Readings of a work in as many fresh interpreters."""
        return [read_in_fresh_interpreter(work, *arguments, home=self.home) for _ in range(repeats)]


def importing(bench: Bench) -> Iterator[Row]:
    """The import on top of Gymnasium's."""
    milliseconds = 1e3 * _least_cpu(bench.readings("import_package", repeats=2 * bench.repeats))
    yield Row("import agent_gym_env, above import gymnasium", milliseconds, "ms", 60, False, "")


def starting(bench: Bench) -> Iterator[Row]:
    """Measure the start of the command line, the start of Python included."""
    lines = (["--help"], ["play", "--help"], ["evaluate", "--help"], ["train", "sft", "--help"])
    commands = [[sys.executable, "-m", "agent_gym_env", *words] for words in lines]
    empty = [sys.executable, "-c", "pass"]
    empty_s, *found_s = least_process_cpu_seconds(bench.repeats, empty, *commands)
    for words, cpu_s in zip(lines, found_s, strict=True):
        what = f"agent-gym {' '.join(words)}, CPU of the process"
        yield Row(what, 1e3 * cpu_s, "ms", 250, False, f"python -c pass: {1e3 * empty_s:.0f} ms")


def compiling_and_opening(bench: Bench) -> Iterator[Row]:
    """Compiling a split, and opening it once compiled, against loading the same shards as JSON."""
    where = (str(bench.corpus), SPLIT)
    loaded, compiled = [], []
    for _ in range(2):
        loaded += bench.readings("load_json", *where, repeats=1)
        compiled += bench.readings("compile_split", *where, repeats=1)
    opened = bench.readings("open_and_reset", *where, repeats=bench.repeats)
    json_s, compile_s, open_s = map(_least_cpu, (loaded, compiled, opened))
    json_mb, compile_mb = (max(r.peak_mb for r in readings) for readings in (loaded, compiled))
    added_mb = max(reading.added_mb for reading in opened)
    yield Row(
        "json.load of the shards / opening the split and first reset, CPU",
        json_s / open_s,
        "x",
        bench.of_sgd(400),
        True,
        f"{json_s:.2f} s / {1e3 * open_s:.2f} ms",
    )
    yield Row("memory of opening and first reset, above imports", added_mb, "MB", 30, False, "")
    yield Row(
        "compiling a split / json.load of the shards, CPU",
        compile_s / json_s,
        "x",
        bench.of_sgd(0.8),
        False,
        f"{compile_s:.2f} s / {json_s:.2f} s",
    )
    yield Row(
        "compiling a split / json.load of the shards, peak memory",
        compile_mb / json_mb,
        "x",
        bench.of_sgd(0.2),
        False,
        f"{compile_mb:.0f} MB / {json_mb:.0f} MB",
    )


def importing_logs(bench: Bench) -> Iterator[Row]:
    """Importing a log, against `json.loads` of its lines."""
    log = bench.scratch / "log.jsonl"
    write_log(log, bench.conversations)
    ways: list[tuple[str, ...]] = [(), ("near_duplicates",), ("redact",)]
    ways.append(("redact", "near_duplicates"))
    loads_s, readings = float("inf"), dict[tuple[str, ...], list[Reading]]()
    for repeat in range(min(bench.repeats, 3)):
        loads_s = min(
            loads_s, *(r.cpu_s for r in bench.readings("load_lines", str(log), repeats=2))
        )
        for way in ways:
            out = str(bench.scratch / f"imported-{repeat}-{len(readings)}-{len(way)}")
            readings.setdefault(way, []).extend(
                bench.readings("import_log", str(log), out, *way, repeats=1)
            )
            shutil.rmtree(out)
    for way, found in readings.items():
        least_s = _least_cpu(found)
        without = f" without {' and '.join(way)}" if way else ""
        yield Row(
            f"json.loads of the lines / importing {bench.conversations:,} conversations{without}",
            loads_s / least_s,
            "x",
            0.3,
            True,
            f"{1e6 * loads_s / bench.conversations:.0f} us / "
            f"{1e6 * least_s / bench.conversations:.0f} us a conversation",
        )
    peak_mb = max(reading.peak_mb for found in readings.values() for reading in found)
    yield Row("peak memory of importing", peak_mb, "MB", 300, False, "")


def stepping(bench: Bench) -> Iterator[Row]:
    """Steps against an environment that does nothing."""
    scripts = Scriptwriter(bench.split(), seed=SEED).scripts(DIALOGUES)
    nothing = do_nothing_like(bench.make())
    for reward, hold in (("ground_truth", 0.09), ("balanced", 0.05)):
        env = bench.make(reward=reward)
        idle_s, env_s = least_seconds_by_part(
            bench.repeats, partial(play, nothing, scripts), partial(play, env, scripts)
        )
        steps = _steps(scripts)
        yield Row(
            f"steps/s, {reward} / an environment that does nothing",
            idle_s / env_s,
            "x",
            hold,
            True,
            f"{steps / env_s:,.0f} / {steps / idle_s:,.0f} steps/s",
        )


def do_nothing_like(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """The environment that gives forever what another one gives first."""
    observation, info = env.reset(seed=SEED)
    return gym.make(DO_NOTHING, observation=dict(observation), info=info)


def vectorising(bench: Bench) -> Iterator[Row]:
    """Our vector environment against Gymnasium's over the same environment."""
    split = bench.split()
    arguments: dict[str, Any] = {"corpus": str(bench.corpus), "split": SPLIT}
    ours = gym.make_vec("SGD-v0", num_envs=NUM_ENVS, **arguments)
    sync = gym.make_vec(
        "SGD-v0",
        num_envs=NUM_ENVS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **arguments,
    )
    actions = batches(sync, Scriptwriter(split, seed=SEED), split, VECTOR_STEPS)
    sync_s, ours_s = least_seconds_by_part(
        bench.repeats, partial(play_batches, sync, actions), partial(play_batches, ours, actions)
    )
    steps = NUM_ENVS * VECTOR_STEPS
    yield Row(
        f"make_vec / SyncVectorEnv, {NUM_ENVS} environments, steps/s",
        sync_s / ours_s,
        "x",
        2,
        True,
        f"{steps / ours_s:,.0f} / {steps / sync_s:,.0f} steps/s",
    )


def growing(bench: Bench) -> Iterator[Row]:
    """The cost of a step on the embedded corpus, and on one that is larger."""
    small, large = (_step_on(bench, copies) for copies in (1, GROWTH))
    small_s, large_s = least_seconds_by_part(bench.repeats, small.play, large.play)
    small_us, large_us = 1e6 * small_s / small.steps, 1e6 * large_s / large.steps
    yield Row(
        f"cost of a step, embedded corpus {GROWTH}-fold / embedded corpus",
        large_us / small_us,
        "x",
        1.2,
        False,
        f"{large_us:.2f} us / {small_us:.2f} us",
    )


@dataclass(frozen=True)
class _Playable:
    play: Callable[[], Iterator[object]]
    steps: int


def _step_on(bench: Bench, copies: int) -> _Playable:
    corpus = bench.scratch / f"grown-{copies}"
    grow(sample_path(), SPLIT, copies, corpus)
    split = open_corpus(corpus).split(SPLIT)
    scripts = Scriptwriter(split, seed=SEED, off_script=0.1).scripts(DIALOGUES)
    env = gym.make("SGD-v0", corpus=str(corpus), split=SPLIT)
    return _Playable(partial(play, env, scripts), _steps(scripts))


def stepping_against_naive(bench: Bench) -> Iterator[Row]:
    """Steps against the naive design; last, for it fills the memory.

    What it holds is taken out of the garbage collector's sight, which would slow it further.
    """
    scripts = Scriptwriter(bench.split(), seed=SEED).scripts(NAIVE_DIALOGUES)
    env = bench.make()
    naive = gym.make(NAIVE, corpus=str(bench.corpus), split=SPLIT)
    gc.freeze()
    naive_s, env_s = least_seconds_by_part(
        3, partial(play, naive, scripts), partial(play, env, scripts)
    )
    gc.unfreeze()
    steps = _steps(scripts)
    yield Row(
        "steps/s, ground_truth / the naive design",
        naive_s / env_s,
        "x",
        bench.of_sgd(100),
        True,
        f"{steps / env_s:,.0f} / {steps / naive_s:,.0f} steps/s",
    )


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "import": importing,
    "start": starting,
    "corpus": compiling_and_opening,
    "logs": importing_logs,
    "steps": stepping,
    "vector": vectorising,
    "growth": growing,
    "naive": stepping_against_naive,
}


def _least_cpu(readings: list[Reading]) -> float:
    return min(reading.cpu_s for reading in readings)


def _steps(scripts: list[Script]) -> int:
    return sum(len(script.actions) for script in scripts)
