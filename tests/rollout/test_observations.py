"""A record gives back every observation as the environment gave it, whoever played."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.rollout.episode import observations
from agent_gym_env.rollout.play import play
from tests.evaluation.episode_factory import episode, turn


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("policy", ["oracle", "uniform", "silent"])
@pytest.mark.parametrize("dialogue_id", ["1_00000", "1_00002"])
def test_observations_are_those_that_the_policy_saw(
    tiny_corpus: Path, policy: str, dialogue_id: str, seed: int
) -> None:
    env = make_env(corpus=tiny_corpus, split="train")
    played = play(env, make_policy(policy, env), dialogue_id=dialogue_id, seed=seed)
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    seen = [observation]
    for each in played.turns:
        for step in each.steps:
            observation, *_ = env.step(step.action)
            seen.append(observation)
    assert list(observations(played)) == seen


def test_an_episode_that_failed_at_once_has_one_observation() -> None:
    (first,) = observations(episode(terminated=False, error="LMError: no"))
    assert first == {"user": "", "tool_result": "", "messages": "[]", "tools": "[]"}


def test_the_last_observation_has_the_whole_conversation() -> None:
    *_, last = observations(episode(turn(user="Hi", says="Yes?")))
    assert last["messages"] == (
        '[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes?"}]'
    )
