from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra train is not installed")
pytest.importorskip("llguidance", reason="the extra train is not installed")

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.policies.base import BatchPolicy
from agent_gym_env.policies.transformers_model import TransformersPolicy
from agent_gym_env.rollout.play import play
from agent_gym_env.testing import check_policy
from tests.local_models import write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


def observations(count: int) -> list[Any]:
    env = make_env(split="dev")
    return [env.reset(seed=seed)[0] for seed in range(count)]


def test_it_is_made_from_plain_configuration(folder: Path) -> None:
    config = {"name": "transformers", "path": str(folder), "max_new_tokens": 6, "guided": False}
    env = make_env(split="dev")
    policy = make_policy(config, env)
    assert policy.name == "transformers:tiny"
    episode = play(env, policy, seed=1)
    assert episode.error is None
    action = episode.turns[0].steps[0].action
    assert action.completion is not None
    assert action.completion.token_ids


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_keeps_the_promises_of_a_policy_and_of_a_batch(folder: Path, temperature: float) -> None:
    policy = TransformersPolicy(folder, temperature=temperature, max_new_tokens=8)
    assert isinstance(policy, BatchPolicy)
    check_policy(policy, dialogues=1)


def test_its_draws_follow_the_seed_of_the_episode(folder: Path) -> None:
    policy = TransformersPolicy(folder, temperature=1.0, max_new_tokens=8)
    (observation,) = observations(1)
    first, again, other = policy.act_batch([observation] * 3, seeds=[1, 1, 2])
    assert first.completion is not None
    assert again.completion is not None
    assert other.completion is not None
    assert first.completion.token_ids == again.completion.token_ids
    assert first.completion.token_ids != other.completion.token_ids
