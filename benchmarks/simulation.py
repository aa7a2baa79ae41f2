"""Command: success, CPU time and state of simulated dialogues, played by the acts oracle."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import Simulation, Understanding
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy

REPEATS = 5
_PARTS = {"step": "step", "decide": "_react", "words": "_say"}
"""Methods of `Simulation` by the name of their figure."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--corpus", default="sample", help="name or path of a corpus")
    parser.add_argument("--split", default="dev", help="name of a split")
    parser.add_argument("--dialogues", type=int, default=300, help="number of dialogues")
    known = get_args(Understanding)
    parser.add_argument(
        "--understanding", choices=known, default="acts", help="what the user reads"
    )
    parser.add_argument("--user", type=json.loads, default='"agenda"', help="user, as JSON")
    parser.add_argument("--noise", type=json.loads, help="what the agent mishears, as JSON")
    chosen = parser.parse_args(arguments)
    env = SGDSimEnv(
        chosen.corpus,
        chosen.split,
        understanding=chosen.understanding,
        user=chosen.user,
        noise=chosen.noise,
    )
    every = env.split.dialogue_ids()
    ids = [every[index] for index in env.selected[: chosen.dialogues]]
    played = [_play(env, ids) for _ in range(REPEATS)]
    seconds = min(each.seconds for each in played)
    turns = played[0].turns
    sizes = [size for dialogue_id in ids[:200] for size in _state_sizes(env, dialogue_id)]
    figures = {
        "dialogues": len(ids),
        "strict": round(played[0].strict / len(ids), 4),
        "turns": round(turns / len(ids), 2),
        "dialogues_per_cpu_second": round(len(ids) / seconds),
        **{f"{part}_us_p50": _median_us([each.parts[part] for each in played]) for part in _PARTS},
        "state_bytes_p50": statistics.median(sizes),
    }
    print(json.dumps(figures))
    return 0


def _median_us(rounds: Sequence[Sequence[float]]) -> float:
    """Return the median of the least seconds of each call, in microseconds."""
    least = [min(column) for column in zip(*rounds, strict=True)]
    return round(1e6 * float(statistics.median(least)), 1)


class Played(NamedTuple):
    """Dialogues that were played.

    Attributes:
        seconds: CPU seconds of all.
        strict: number of strict successes.
        turns: number of turns.
        parts: seconds of each closing step, and of the user's decision and words in it.
    """

    seconds: float
    strict: int
    turns: int
    parts: dict[str, list[float]]


def _play(env: SGDSimEnv, ids: Sequence[str]) -> Played:
    """Play dialogues, the seed of each its place among them."""
    policy = ActsOraclePolicy(env)
    strict = turns = 0
    with _timed_parts() as parts:
        begin = time.process_time()
        for seed, dialogue_id in enumerate(ids):
            policy.reset()
            observation, info = env.reset(seed=seed, options={"dialogue_id": dialogue_id})
            over = False
            while not over:
                action = policy.act(observation)
                observation, _, over, _, info = env.step(action)
                if not action.text:
                    parts["step"].pop()
            strict += info["task"]["strict"]
            turns += info["turn"]
        seconds = time.process_time() - begin
    return Played(seconds, strict, turns, parts)


@contextmanager
def _timed_parts() -> Iterator[dict[str, list[float]]]:
    """Time the methods of `_PARTS`."""
    parts: dict[str, list[float]] = {part: [] for part in _PARTS}
    methods = {name: getattr(Simulation, name) for name in _PARTS.values()}
    for part, name in _PARTS.items():
        setattr(Simulation, name, _timed(methods[name], parts[part]))
    try:
        yield parts
    finally:
        for name, method in methods.items():
            setattr(Simulation, name, method)


def _timed(method: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        begin = time.perf_counter()
        result = method(*arguments)
        seconds.append(time.perf_counter() - begin)
        return result

    return timed


def _state_sizes(env: SGDSimEnv, dialogue_id: str) -> Iterator[int]:
    """Yield the bytes of the state of each step, the conversation so far among them."""
    policy = ActsOraclePolicy(env)
    policy.reset()
    observation, _ = env.reset(seed=0, options={"dialogue_id": dialogue_id})
    over = False
    while not over:
        yield len(json.dumps(env.get_state()))
        observation, _, over, _, _ = env.step(policy.act(observation))


if __name__ == "__main__":
    sys.exit(main())
