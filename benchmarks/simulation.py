"""Command: CPU time and state of a simulated dialogue, played by the acts oracle."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy

REPEATS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--corpus", default="sample", help="name or path of a corpus")
    parser.add_argument("--split", default="dev", help="name of a split")
    parser.add_argument("--dialogues", type=int, default=300, help="number of dialogues")
    chosen = parser.parse_args(arguments)
    env = SGDSimEnv(chosen.corpus, chosen.split)
    ids = env.split.dialogue_ids()[: chosen.dialogues]
    seconds = min(_play(env, ids)[0] for _ in range(REPEATS))
    _, turns, sizes = _play(env, ids)
    figures = {
        "dialogues": len(ids),
        "dialogues_per_cpu_second": round(len(ids) / seconds),
        "user_turn_us_p50": round(1e6 * statistics.median(turns), 1),
        "state_bytes_p50": statistics.median(sizes),
    }
    print(json.dumps(figures))
    return 0


def _play(env: SGDSimEnv, ids: Sequence[str]) -> tuple[float, list[float], list[int]]:
    """Play dialogues; return CPU seconds of all, of each closing step, and bytes of each state."""
    policy = ActsOraclePolicy(env)
    turns, begin = [], time.process_time()
    for dialogue_id in ids:
        policy.reset()
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            action = policy.act(observation)
            started = time.perf_counter()
            observation, _, over, _, _ = env.step(action)
            if action.text:
                turns.append(time.perf_counter() - started)
    seconds = time.process_time() - begin
    sizes = [_state_size(env, policy, dialogue_id) for dialogue_id in ids[:50]]
    return seconds, turns, sizes


def _state_size(env: SGDSimEnv, policy: ActsOraclePolicy, dialogue_id: str) -> int:
    """Return the bytes of the state of a finished dialogue, without its messages."""
    policy.reset()
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    over = False
    while not over:
        observation, _, over, _, _ = env.step(policy.act(observation))
    state = {key: value for key, value in env.get_state().items() if key not in ("log", "random")}
    return len(json.dumps(state))


if __name__ == "__main__":
    sys.exit(main())
