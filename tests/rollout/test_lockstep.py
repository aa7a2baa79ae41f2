"""Dialogues in step are the dialogues one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import make_env, rollout
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.lockstep import in_order, play_all_together
from agent_gym_env.rollout.play import play_all
from agent_gym_env.types import Action, Observation
from tests.rollout.collecting import model_policy

IDS = ["1_00002", "1_00000", "1_00001"] * 3


def timeless(episodes: Sequence[Episode]) -> list[Episode]:
    return [msgspec.structs.replace(episode, duration_s=0.0) for episode in episodes]


@pytest.mark.parametrize("width", [1, 2, 20])
def test_episodes_in_step_are_those_one_after_another_in_the_same_order(
    tiny_corpus: Path, width: int
) -> None:
    envs = [make_env(corpus=str(tiny_corpus)) for _ in range(width)]
    alone = list(play_all(envs[0], model_policy(), IDS, seed=1))
    together = list(play_all_together(envs, model_policy(), IDS, seed=1))
    assert timeless(together) == timeless(alone)


def test_a_rollout_in_step_is_the_same(tiny_corpus: Path) -> None:
    arguments = {"corpus": str(tiny_corpus), "seed": 2}
    together = list(rollout(model_policy(), batch=2, **arguments))  # type: ignore[arg-type]
    assert timeless(together) == timeless(list(rollout(model_policy(), **arguments)))  # type: ignore[arg-type]


class Moody:
    """Speaks to all at once but to none whose user says a certain thing."""

    name = "moody"

    def reset(self, *, seed: int | None = None) -> None:
        """Begin."""

    def act(self, observation: Observation) -> Action:
        """Speak."""
        return self.act_batch([observation])[0]

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> list[Action]:
        """Speak to all."""
        if any(observation["user"] == "Bye." for observation in observations):
            raise RuntimeError("not in the mood")
        return [Action("Yes.") for _ in observations]


def test_a_failure_ends_its_own_dialogue_only(tiny_corpus: Path) -> None:
    envs = [make_env(corpus=str(tiny_corpus)) for _ in range(3)]
    errors = {
        episode.dialogue_id: episode.error
        for episode in play_all_together(envs, Moody(), ["1_00000", "1_00001", "1_00002"])
    }
    assert errors == {"1_00000": None, "1_00001": "RuntimeError: not in the mood", "1_00002": None}


def test_numbers_are_put_in_order() -> None:
    assert list(in_order([(2, "c"), (0, "a"), (1, "b"), (3, "d")])) == ["a", "b", "c", "d"]
