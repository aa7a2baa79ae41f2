"""A prompt's state brings an environment back to the turn, whoever played before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.export.from_episodes import prompt_rows
from agent_gym_env.rollout.play import play
from tests.evaluation.episode_factory import episode, turn


def test_each_turn_is_a_prompt_that_ends_with_the_user() -> None:
    first, second = prompt_rows(episode(turn(user="Hi", says="Yes?"), turn(user="Bye")))
    assert [message["role"] for message in first.prompt] == ["system", "user"]
    assert second.prompt[1:] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Bye"},
    ]
    assert (first.turn, second.turn) == (0, 1)
    assert (second.dialogue_id, second.split) == ("1_00000", "test")


@pytest.mark.parametrize("policy", ["oracle", "uniform"])
def test_the_state_gives_the_very_observation_that_the_policy_saw(
    tiny_corpus: Path, policy: str
) -> None:
    env = make_env(corpus=tiny_corpus, split="train")
    other = make_env(corpus=tiny_corpus, split="train").unwrapped
    assert isinstance(other, SGDEnv)
    played = play(env, make_policy(policy, env), dialogue_id="1_00000", seed=5)
    rows = list(prompt_rows(played))
    observation, _ = env.reset(options={"dialogue_id": "1_00000"})
    for row, recorded in zip(rows, played.turns, strict=True):
        restored, info = other.set_state(json.loads(row.state))
        assert restored == observation
        assert info["turn"] == row.turn
        for step in recorded.steps:
            observation, *_ = env.step(step.action)
            # What follows in the restored environment is the same, too.
            assert other.step(step.action)[0] == observation
