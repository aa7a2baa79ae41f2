"""The vector is a function of the observation, within its bounds, whoever asked before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TransformObservation
from numpy.typing import NDArray

from agent_gym_env.wrappers import CandidateAction, EncodeObservation
from tests.corpora import TRAIN
from tests.wrappers.conftest import Make
from tests.wrappers.scripted_source import ScriptedSource

TEA = {"dialogue_id": TRAIN[0].dialogue_id}


class Lengths:
    """Encodes a text as its length and its number of words."""

    dim = 2

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode."""
        self.batches.append(list(texts))
        return np.array([(len(text), len(text.split())) for text in texts], np.float32)


def played(env: gym.Env[Any, Any], actions: Sequence[Any]) -> list[Any]:
    """Play actions in one dialogue; every vector seen."""
    vectors = [env.reset(options=TEA)[0]]
    vectors += [env.step(action)[0] for action in actions]
    return vectors


def test_vectors_lie_in_the_space(make: Make) -> None:
    env = EncodeObservation(CandidateAction(make(), ScriptedSource(), k=5))
    for vector in played(env, [0, 0, 1]):
        assert vector.dtype == np.float32
        assert env.observation_space.contains(vector)


def test_candidates_add_a_row_each(make: Make) -> None:
    alone = EncodeObservation(make(), Lengths())
    among = EncodeObservation(CandidateAction(make(), ScriptedSource(), k=5), Lengths())
    sizes = [env.observation_space.shape for env in (alone, among)]
    # 7 texts of 2 numbers and 16 facts; then 10 facts and a text of 2 numbers for each of 5.
    assert sizes == [(30,), (30 + 5 * 12,)]


def test_a_row_without_a_candidate_is_zero(make: Make) -> None:
    env = EncodeObservation(CandidateAction(make(), ScriptedSource(), k=5), Lengths())
    vector, _ = env.reset(options=TEA)
    rows = vector[30:].reshape(5, 12)
    assert (rows[:4, 0] == 1).all()
    assert not rows[4].any()


def test_the_vector_depends_on_the_conversation_alone(make: Make) -> None:
    env = EncodeObservation(CandidateAction(make(), ScriptedSource(), k=4))
    first = played(env, [0, 0, 1])
    played(env, [2, 3, 3])
    again = played(env, [0, 0, 1])
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert not (first[1] == first[2]).all()


def test_each_text_is_encoded_once(make: Make) -> None:
    encoder = Lengths()
    env = EncodeObservation(make(), encoder)
    played(env, [{"text": "Sorry?", "tool_calls": ""}])
    texts = [text for batch in encoder.batches for text in batch]
    assert len(texts) == len(set(texts))
    assert "I want a green tea." in texts


def test_where_nothing_is_to_be_decided_all_is_zero(make: Make) -> None:
    env = EncodeObservation(make())
    env.reset(options={"dialogue_id": TRAIN[1].dialogue_id})
    env.step("Assam.")
    vector, _, terminated, _, _ = env.step("Bye.")
    assert terminated
    assert not vector.any()


def test_a_vector_that_is_changed_changes_no_other(make: Make) -> None:
    env = EncodeObservation(make())
    vector, _ = env.reset(options=TEA)
    before = vector.copy()
    vector[:] = 9
    again, _ = env.reset(options=TEA)
    assert (again == before).all()


def test_another_observation_is_refused(make: Make) -> None:
    other = TransformObservation(make(), lambda _: 0, Discrete(1))
    with pytest.raises(TypeError, match="EncodeObservation wraps"):
        EncodeObservation(other)
