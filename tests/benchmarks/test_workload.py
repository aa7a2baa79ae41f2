"""The scripts fit the dialogues that they are for."""

from __future__ import annotations

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from agent_gym_env.corpus.corpus import open_corpus
from benchmarks.workload import Scriptwriter, batches


def test_a_script_ends_with_its_dialogue_and_not_before() -> None:
    writer = Scriptwriter(open_corpus("sample").split("train"), seed=0, off_script=0.1)
    env = gym.make("SGD-v0")
    for script in writer.scripts(5):
        env.reset(options=dict(script.options))
        ends = [env.step(action)[2] for action in script.actions]
        assert ends == [False] * (len(ends) - 1) + [True]


def test_the_same_seed_writes_the_same_scripts() -> None:
    split = open_corpus("sample").split("train")
    assert Scriptwriter(split, seed=1).scripts(5) == Scriptwriter(split, seed=1).scripts(5)
    assert Scriptwriter(split, seed=1).scripts(5) != Scriptwriter(split, seed=2).scripts(5)


def test_scripts_hold_replies_and_calls_alone_and_together() -> None:
    scripts = Scriptwriter(open_corpus("sample").split("train"), seed=0).scripts(50)
    kinds = {
        (bool(action["text"]), bool(action["tool_calls"]))
        for script in scripts
        for action in script.actions
    }
    assert kinds == {(True, False), (False, True), (True, True)}


def test_batches_make_only_calls_of_the_open_dialogues() -> None:
    split = open_corpus("sample").split("train")
    envs = gym.make_vec(
        "SGD-v0",
        num_envs=4,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    actions = batches(envs, Scriptwriter(split, seed=0), split, steps=40)
    envs.reset(seed=0)
    observed = [envs.step(batch)[0]["tool_result"] for batch in actions]
    results = [result for step in observed for result in step if result]
    assert results
    assert not any('"error"' in result for result in results)
