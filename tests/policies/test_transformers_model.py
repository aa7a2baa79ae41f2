from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra train is not installed")
pytest.importorskip("llguidance", reason="the extra train is not installed")

import torch

from agent_gym_env.assembly import make_env, make_policy, rollout
from agent_gym_env.policies.base import BatchPolicy
from agent_gym_env.policies.transformers_model import TransformersPolicy
from agent_gym_env.rollout.play import play
from agent_gym_env.testing import check_policy
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.training.tiny import make_tiny
from tests.local_models import conversations, load, write_model


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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model whose biases matter, as they do once it is trained."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny(folder, conversations(6), TinyConfig(vocabulary=512, width=64, practice=0))
    model: Any = load(folder).model
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_episodes_played_together_are_those_played_one_by_one(
    tiny: str, temperature: float
) -> None:
    config = {
        "name": "transformers", "path": tiny, "temperature": temperature, "max_new_tokens": 16
    }  # fmt: skip

    def played(batch: int) -> list[Any]:
        episodes = rollout(
            config, split="dev", episodes=6, seed=3, batch=batch, max_episode_steps=3
        )
        return [
            [step.action.completion for turn in episode.turns for step in turn.steps]
            for episode in episodes
        ]

    together, alone = played(6), played(1)
    assert [[step.token_ids for step in steps] for steps in together] == [
        [step.token_ids for step in steps] for steps in alone
    ]
