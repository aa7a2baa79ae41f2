"""Guarantees of every policy that needs no language model."""

from __future__ import annotations

import pytest

from agent_gym_env.assembly import make_env, make_policy, rollout
from agent_gym_env.testing import check_policy


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_oracle_earns_one_at_every_turn(split: str, reward: str) -> None:
    for episode in rollout("oracle", split=split, reward=reward, episodes=15):
        assert {turn.reward for turn in episode.turns} == {1.0}


@pytest.mark.parametrize("name", ["silent", "constant", "uniform", "retrieval"])
def test_every_policy_keeps_its_promises(name: str) -> None:
    env = make_env(split="dev")
    assert make_policy(name, env).name == name
    check_policy(name, env)


@pytest.mark.parametrize("name", ["oracle", "best-candidate"])
def test_a_teacher_keeps_its_promises_while_it_may_ask_the_environment(name: str) -> None:
    env = make_env(split="dev")
    assert make_policy(name, env).name == name
    check_policy(name, env, dialogues=2, reads_env=True)
