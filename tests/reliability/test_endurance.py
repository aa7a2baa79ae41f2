"""Playing on and on takes no more memory, files or threads, and no more time a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.vector import SGDVectorEnv
from tests.reliability.playing import Mischief, sized
from tests.reliability.process import holdings, holds_no_more, in_new_process, needs_proc

pytestmark = needs_proc
STEPS = sized(20_000, 1_000_000)


def play_single(env: SGDEnv, steps: int) -> None:
    """Play dialogues to their ends, with a snapshot and a branch in each."""
    choose = Mischief(steps)
    observation, _ = env.reset(seed=0)
    for step in range(steps):
        observation, _, over, _, _ = env.step(choose(env, observation))
        if step % 10 == 9:
            observation, _ = env.set_state(env.get_state())
        if over:
            observation, _ = env.reset()


def play_vector(envs: SGDVectorEnv, steps: int) -> None:
    envs.reset(seed=0)
    texts = ("Is there anything else?",) * envs.num_envs
    calls = ('[{"name": "NoSuchTool"}]', "") * (envs.num_envs // 2)
    silence = ("",) * envs.num_envs
    for step in range(steps // envs.num_envs):
        envs.step({"text": texts if step % 3 else silence, "tool_calls": calls})


def make_environments(_: None, steps: int) -> None:
    for seed in range(steps // 100):
        SGDEnv(split=("train", "dev", "test")[seed % 3]).reset(seed=seed)


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any, int], None]]] = {
    "single": (lambda: SGDEnv(reward="balanced"), play_single),
    "vector": (lambda: SGDVectorEnv(16), play_vector),
    "recreated": (lambda: None, make_environments),
}


@pytest.mark.parametrize("case", CASES)
def test_memory_files_and_threads_stay_as_they_were(case: str) -> None:
    in_new_process(endure, case)


def endure(case: str) -> None:
    make, play = CASES[case]
    env = make()
    play(env, STEPS // 5)
    before = holdings()
    play(env, STEPS)
    after = holdings()
    growth_mb = after.memory_mb - before.memory_mb
    print(f"{STEPS} steps: memory {growth_mb:+.2f} MB")
    assert growth_mb < 5
    assert holds_no_more(after, before)


def test_a_step_takes_as_long_at_the_end_as_at_the_beginning() -> None:
    env = SGDEnv()
    play_single(env, STEPS // 10)
    taken = []
    for _ in range(10):
        began = time.process_time()
        play_single(env, STEPS // 10)
        taken.append(time.process_time() - began)
    slope = np.polyfit(range(10), np.array(taken) / np.mean(taken), 1)[0]
    print(f"{1e6 * sum(taken) / STEPS:.0f} us a step, {100 * slope:+.1f} % each tenth")
    assert slope < 0.1
