"""Command: success, CPU time and state of simulated dialogues, played by the acts oracle."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy

REPEATS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--corpus", default="sample", help="name or path of a corpus")
    parser.add_argument("--split", default="dev", help="name of a split")
    parser.add_argument("--dialogues", type=int, default=300, help="number of dialogues")
    parser.add_argument("--user", type=json.loads, default='"agenda"', help="user, as JSON")
    parser.add_argument("--noise", type=json.loads, help="what the agent mishears, as JSON")
    chosen = parser.parse_args(arguments)
    env = SGDSimEnv(
        chosen.corpus,
        chosen.split,
        understanding="acts",
        user=chosen.user,
        noise=chosen.noise,
    )
    every = env.split.dialogue_ids()
    ids = [every[index] for index in env.selected[: chosen.dialogues]]
    played = [_play(env, ids) for _ in range(REPEATS)]
    seconds = min(each.seconds for each in played)
    _, strict, turns = played[-1]
    sizes = [_state_size(env, dialogue_id) for dialogue_id in ids[:50]]
    figures = {
        "dialogues": len(ids),
        "strict": round(strict / len(ids), 4),
        "turns": round(len(turns) / len(ids), 2),
        "dialogues_per_cpu_second": round(len(ids) / seconds),
        "user_turn_us_p50": round(1e6 * statistics.median(turns), 1),
        "state_bytes_p50": statistics.median(sizes),
    }
    print(json.dumps(figures))
    return 0


class Played(NamedTuple):
    """Dialogues that were played.

    Attributes:
        seconds: CPU seconds of all.
        strict: number of strict successes.
        turns_s: wall-clock seconds of each closing step.
    """

    seconds: float
    strict: int
    turns_s: list[float]


def _play(env: SGDSimEnv, ids: Sequence[str]) -> Played:
    """Play dialogues, the seed of each its place among them."""
    policy = ActsOraclePolicy(env)
    turns, strict, begin = [], 0, time.process_time()
    for seed, dialogue_id in enumerate(ids):
        policy.reset()
        observation, info = env.reset(seed=seed, options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            action = policy.act(observation)
            started = time.perf_counter()
            observation, _, over, _, info = env.step(action)
            if action.text:
                turns.append(time.perf_counter() - started)
        strict += info["task"]["strict"]
    return Played(time.process_time() - begin, strict, turns)


def _state_size(env: SGDSimEnv, dialogue_id: str) -> int:
    """Return the bytes of the state of a finished dialogue, without its messages."""
    policy = ActsOraclePolicy(env)
    policy.reset()
    observation, _ = env.reset(seed=0, options={"dialogue_id": dialogue_id})
    over = False
    while not over:
        observation, _, over, _, _ = env.step(policy.act(observation))
    state = {key: value for key, value in env.get_state().items() if key not in ("log", "random")}
    return len(json.dumps(state))


if __name__ == "__main__":
    sys.exit(main())
