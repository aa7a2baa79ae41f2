"""Pieces of work that are each measured in a fresh interpreter, which prints the reading.

Run by `benchmarks.measure.read_in_fresh_interpreter`. Each imports what it needs before the clock
runs, and nothing else: imports that another one needs would count as memory of this one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import Reading, read


def load_json(corpus: str, split: str) -> Reading:
    """Load the shards with the standard library, and keep them."""
    shards = sorted(Path(corpus, split).glob("dialogues_*.json"))
    return read(lambda: [json.loads(shard.read_bytes()) for shard in shards])


def compile_split(corpus: str, split: str) -> Reading:
    """Compile a split into the cache."""
    from agent_gym_env.corpus.corpus import open_corpus

    return read(lambda: open_corpus(corpus).build(split))


def open_and_reset(corpus: str, split: str) -> Reading:
    """Make the environment over a compiled split and begin an episode."""
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    import agent_gym_env  # noqa: F401  (registers the environment)

    entry_point = gymnasium.spec("SGD-v0").entry_point
    assert isinstance(entry_point, str)
    load_env_creator(entry_point)
    return read(lambda: gymnasium.make("SGD-v0", corpus=corpus, split=split).reset(seed=0))


def load_lines(log: str) -> Reading:
    """Load each line of a log with the standard library, and forget it."""

    def load() -> None:
        with open(log, "rb") as file:
            for line in file:
                json.loads(line)

    return read(load)


def import_log(log: str, out: str, *switched_off: str) -> Reading:
    """Import a log; without redaction or the search for near-duplicates if these are named."""
    from agent_gym_env.corpus.logs.importing import import_logs

    options: dict[str, Any] = dict.fromkeys(switched_off, False)
    return read(lambda: import_logs(log, out, **options))


def import_package() -> Reading:
    """Import the package on top of Gymnasium."""
    import gymnasium  # noqa: F401

    return read(lambda: __import__("agent_gym_env"))


WORKS = {
    work.__name__: work
    for work in (
        load_json,
        compile_split,
        open_and_reset,
        load_lines,
        import_log,
        import_package,
    )
}

if __name__ == "__main__":
    print(json.dumps(asdict(WORKS[sys.argv[1]](*sys.argv[2:]))))
