"""What holds of every policy that needs no model."""

from __future__ import annotations

import pytest

from agent_gym_env.assembly import make_env, make_policy, rollout
from agent_gym_env.policies.base import Policy
from agent_gym_env.types import Action


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_oracle_earns_one_at_every_turn(split: str, reward: str) -> None:
    for episode in rollout("oracle", split=split, reward=reward, episodes=15):
        assert {turn.reward for turn in episode.turns} == {1.0}


@pytest.mark.parametrize("name", ["oracle", "silent", "constant", "uniform", "retrieval"])
def test_every_policy_acts_on_the_bare_observation(name: str) -> None:
    env = make_env(split="dev")
    seen, _ = env.reset(seed=1)
    policy: Policy = make_policy(name, env)
    policy.reset(seed=1)
    action = policy.act(seen)
    assert isinstance(action, Action)
    env.step(action)
    assert policy.name == name
