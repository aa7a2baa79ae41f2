"""The spaces take any Unicode text, and nothing else."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import CustomSpaceError
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.vector.utils import create_shared_memory

from agent_gym_env.envs.spaces import (
    MAX_TEXT_LENGTH,
    FreeText,
    action_space,
    is_unicode,
    observation_space,
)


@pytest.mark.parametrize("text", ["", "plain", "a b\n\t", "Grüße", "\U0001f375", "\0", "x" * 8])
def test_any_unicode_text_up_to_the_length_is_a_member(text: str) -> None:
    assert FreeText(8).contains(text)


@pytest.mark.parametrize(
    "value", ["x" * 9, "\ud800", "a\udfffb", b"bytes", None, 7, ["a"], np.array("a")]
)
def test_longer_texts_lone_surrogates_and_other_types_are_no_members(value: Any) -> None:
    assert not FreeText(8).contains(value)


def test_a_text_is_unicode_if_it_can_be_written_as_utf_8() -> None:
    assert is_unicode("Grüße \U0001f375")
    assert not is_unicode("\udc80")


def test_spaces_of_one_length_are_equal() -> None:
    assert FreeText(8) == FreeText(8)
    assert FreeText(8) != FreeText(9)
    assert FreeText(8) != spaces.Text(8)


def test_samples_are_members_and_repeat_with_the_seed() -> None:
    space, twin = FreeText(5, seed=3), FreeText(5, seed=3)
    samples = [space.sample() for _ in range(50)]
    assert all(map(space.contains, samples))
    assert len(set(samples)) > 10
    assert samples == [twin.sample() for _ in range(50)]


def test_a_sample_obeys_a_mask_of_characters() -> None:
    space = FreeText(5, seed=0)
    mask = np.zeros(len(space.character_list), np.int8)
    mask[0] = 1
    assert space.sample(mask=(3, mask)) == space.character_list[0] * 3


def test_a_space_of_the_largest_length_is_small_to_pickle() -> None:
    pickled = pickle.dumps(observation_space())
    assert len(pickled) < 50_000
    assert pickle.loads(pickled) == observation_space()
    assert copy.deepcopy(action_space()) == action_space()


def test_text_of_free_length_cannot_be_flattened() -> None:
    assert not FreeText(8).is_np_flattenable
    with pytest.raises(CustomSpaceError, match="EncodeObservation"):
        flatten_space(observation_space())
    with pytest.raises(CustomSpaceError, match="EncodeObservation"):
        flatten(action_space(), {"text": "é", "tool_calls": ""})


def test_shared_memory_is_refused_with_the_way_out() -> None:
    with pytest.raises(CustomSpaceError, match="shared_memory=False"):
        create_shared_memory(observation_space(), n=2)


def test_the_observation_has_four_texts_and_the_action_two() -> None:
    assert list(observation_space()) == ["messages", "tool_result", "tools", "user"]
    assert list(action_space()) == ["text", "tool_calls"]


def test_an_action_s_text_has_its_limit() -> None:
    space = action_space()
    assert space.contains({"text": "x" * MAX_TEXT_LENGTH, "tool_calls": ""})
    assert not space.contains({"text": "x" * (MAX_TEXT_LENGTH + 1), "tool_calls": ""})


def test_a_space_names_its_length() -> None:
    assert repr(FreeText(8)) == "FreeText(8)"
