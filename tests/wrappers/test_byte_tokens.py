"""Strings come back from their bytes, and what does not fit is lost where the docs say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.wrappers.byte_tokens import (
    VOCABULARY,
    ByteAction,
    ByteObservation,
    text_of,
    tokens_of,
)
from agent_gym_env.wrappers.text_action import TextAction
from agent_gym_env.wrappers.text_observation import TextObservation
from tests.corpora import TRAIN
from tests.wrappers.conftest import Make

TEA = {"dialogue_id": TRAIN[0].dialogue_id}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_text_comes_back_from_its_tokens(text: str) -> None:
    assert text_of(tokens_of(text, 160)) == text


def test_tokens_are_bytes_plus_one_and_zero_is_the_end() -> None:
    assert tokens_of("aé", 5).tolist() == [98, 196, 170, 0, 0]
    assert text_of(np.array([98, 0, 99])) == "a"


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert text_of(np.array([98, 256, 98])) == "a�a"


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes, at most 3"):
        tokens_of("🍵", 3)


def test_the_end_of_the_prompt_is_kept(make: Make) -> None:
    prompt, _ = TextObservation(make()).reset(options=TEA)
    env = ByteObservation(TextObservation(make()), length=40)
    tokens, _ = env.reset(options=TEA)
    assert text_of(tokens) == prompt[-40:]
    assert env.observation_space.contains(tokens)


def test_a_short_prompt_has_zeros_in_front(make: Make) -> None:
    prompt, _ = TextObservation(make()).reset(options=TEA)
    length = len(prompt.encode()) + 3
    tokens, _ = ByteObservation(TextObservation(make()), length=length).reset(options=TEA)
    assert tokens[:4].tolist() == [0, 0, 0, ord("<") + 1]


def test_a_completion_is_said(make: Make) -> None:
    env = ByteAction(TextAction(make()), length=16)
    env.reset(options=TEA)
    observation, *_ = env.step(tokens_of("Which kind?", 16))
    assert json.loads(observation["messages"])[1]["content"] == "Which kind?"


@pytest.mark.parametrize("tokens", [[300, 0, 0], [-5, 0, 0], [98, 0]])
def test_what_is_no_token_is_refused(make: Make, tokens: list[int]) -> None:
    env = ByteAction(TextAction(make()), length=3)
    env.reset(options=TEA)
    with pytest.raises(ValueError, match="the action is 3 numbers from 0 to 256, not"):
        env.step(np.array(tokens))


def test_every_sampled_action_can_be_taken(make: Make) -> None:
    env: Any = ByteAction(TextAction(make()), length=16)
    env.reset(seed=0, options=TEA)
    env.action_space.seed(0)
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(env.action_space.sample())
        assert info["action_error"] is None
    assert env.action_space.nvec.tolist() == [VOCABULARY] * 16


def test_both_say_what_they_need_inside(make: Make) -> None:
    with pytest.raises(TypeError, match="put TextObservation around it first"):
        ByteObservation(make())
    with pytest.raises(TypeError, match="put TextAction around it first"):
        ByteAction(make())


def test_a_length_is_at_least_one(make: Make) -> None:
    with pytest.raises(ValueError, match="length must be at least 1, not 0"):
        ByteAction(TextAction(make()), length=0)
