"""Cloning learns what was shown, and only from candidates that there were."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra sb3 is not installed")

import torch

from agent_gym_env.policies.sb3_file import Shape
from agent_gym_env.training.cloning import clone, demonstrate
from agent_gym_env.training.demonstrations import Demonstrations
from agent_gym_env.wrappers import CandidateAction, EncodeObservation
from tests.corpora import TRAIN
from tests.wrappers.scripted_source import ScriptedSource

TEA, BLACK, _ = (dialogue.dialogue_id for dialogue in TRAIN)


@pytest.fixture
def shown(tiny_corpus: Path) -> Demonstrations:
    bare = gym.make("agent_gym_env:SGD-v0", corpus=str(tiny_corpus), reward="ground_truth")
    source = ScriptedSource()
    env = EncodeObservation(CandidateAction(bare, source, k=5))
    return demonstrate(env, source, [TEA, BLACK])


def test_each_situation_is_shown_with_its_best_candidate(shown: Demonstrations) -> None:
    # Search, Sencha, …; the first candidate is played, which is the search wherever one may be
    # made, so that each of the 4 + 2 turns has two situations.
    assert len(shown.labels) == 2 * (4 + 2)
    assert shown.labels[:2].tolist() == [0, 0]
    assert shown.masks[:2].tolist() == [[True] * 4 + [False], [True] * 3 + [False] * 2]
    assert shown.vectors.dtype == np.float32


def test_the_network_learns_what_was_shown(shown: Demonstrations) -> None:
    torch.manual_seed(0)
    network = Shape(k=5).network()
    losses = clone(network, shown, epochs=60, learning_rate=1e-2)
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        scores = network.forward_actor(torch.from_numpy(shown.vectors)).numpy()
    scores[~shown.masks] = -np.inf
    assert (scores.argmax(axis=1) == shown.labels).mean() > 0.8


def test_the_same_seed_learns_the_same(shown: Demonstrations) -> None:
    def losses(seed: int) -> list[float]:
        torch.manual_seed(0)
        return clone(Shape(k=5).network(), shown, epochs=2, batch_size=4, seed=seed)

    assert losses(1) == losses(1) != losses(2)


def test_a_network_that_knows_nothing_chooses_evenly(shown: Demonstrations) -> None:
    torch.manual_seed(0)
    (loss,) = clone(Shape(k=5).network(), shown, epochs=1, batch_size=100, learning_rate=1e-9)
    # The mean of ln(number of candidates): 4 where a call may be made, else 3.
    assert loss == pytest.approx(np.log(shown.masks.sum(axis=1)).mean(), abs=0.05)
