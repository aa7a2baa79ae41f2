"""Hindsight tells what each candidate would earn, and leaves no trace of having tried."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.rollout.play import play
from agent_gym_env.training.hindsight import NOT_TRIED, BestCandidatePolicy, Hindsight
from tests.corpora import TRAIN
from tests.wrappers.scripted_source import FIND_GREEN, Proposal, ScriptedSource

TEA = {"dialogue_id": TRAIN[0].dialogue_id}


@pytest.fixture
def env(tiny_corpus: Path) -> gym.Env[dict[str, str], object]:
    return gym.make("agent_gym_env:SGD-v0", corpus=str(tiny_corpus), reward="ground_truth")


def test_replies_earn_their_reward_and_a_due_call_that_of_the_best_reply_after_it(
    env: gym.Env[dict[str, str], object],
) -> None:
    observation, _ = env.reset(options=TEA)
    source = ScriptedSource()
    values = Hindsight(env, source, 4).values(source.candidates(observation, 4))
    # The corpus searches for green tea and says "There is Sencha from Uji.": the call and the same
    # words are 1; the words without the call half; "Which kind of tea?" and "Goodbye." share none.
    assert values.tolist() == [1.0, 0.5, 0.0, 0.0]


def test_a_call_that_is_not_due_is_not_tried(env: gym.Env[dict[str, str], object]) -> None:
    env.reset(options=TEA)
    env.step(FIND_GREEN)
    again = Hindsight(env, ScriptedSource(), 4).values([Proposal(FIND_GREEN, 0.5)])
    assert again.tolist() == [NOT_TRIED]
    env.step("There is Sencha.")
    other = Hindsight(env, ScriptedSource(), 4).values([Proposal(FIND_GREEN, 0.5)])
    assert other.tolist() == [NOT_TRIED]


def test_the_environment_stays_as_it_is(env: gym.Env[dict[str, str], object]) -> None:
    observation, _ = env.reset(seed=0, options=TEA)
    source, bare = ScriptedSource(), unwrap_sgd(env)
    before = bare.get_state()
    Hindsight(env, source, 4).values(source.candidates(observation, 4))
    assert bare.get_state() == before


def test_the_policy_takes_the_best(env: gym.Env[dict[str, str], object]) -> None:
    episode = play(
        env, BestCandidatePolicy(env, ScriptedSource(), 4), dialogue_id=TEA["dialogue_id"]
    )
    first, *_, last = episode.turns
    assert first.steps[0].action == FIND_GREEN
    assert (first.reward, last.reward) == (1.0, 1.0)


def test_it_needs_the_environment_that_knows() -> None:
    with pytest.raises(TypeError, match="expected SGD-v0, possibly in wrappers, not CartPoleEnv"):
        unwrap_sgd(gym.make("CartPole-v1"))
