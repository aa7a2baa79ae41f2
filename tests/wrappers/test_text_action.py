"""A completion is read as a language model means it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TransformAction

from agent_gym_env.wrappers import TextAction
from tests.corpora import FIND_TEA, TRAIN
from tests.wrappers.conftest import Make

TEA = {"dialogue_id": TRAIN[0].dialogue_id}
CALL = json.dumps({"name": FIND_TEA, "arguments": {"kind": "green"}})


def test_words_are_said(make: Make) -> None:
    env = TextAction(make())
    env.reset(options=TEA)
    observation, *_ = env.step("Which kind?")
    assert json.loads(observation["messages"])[1] == {
        "role": "assistant",
        "content": "Which kind?",
    }


def test_a_call_in_tags_is_made(make: Make) -> None:
    env = TextAction(make())
    env.reset(options=TEA)
    observation, reward, *_ = env.step(f"<tool_call>{CALL}</tool_call>")
    (result,) = json.loads(observation["tool_result"])
    assert (result["name"], result["status"], reward) == (FIND_TEA, "success", 0.0)


def test_any_unicode_of_the_space_is_an_action(make: Make) -> None:
    env = TextAction(make())
    env.reset(options=TEA)
    assert env.action_space.contains("Grüße 🍵")
    env.step("Grüße 🍵")


def test_another_type_than_a_string_raises(make: Make) -> None:
    env = TextAction(make())
    env.reset(options=TEA)
    with pytest.raises(TypeError, match="one string, not int64"):
        env.step(np.int64(3))


def test_another_action_space_is_refused(make: Make) -> None:
    other = TransformAction(make(), lambda _: {"text": "Hello.", "tool_calls": ""}, Discrete(2))
    with pytest.raises(TypeError, match=r"TextAction wraps .* \['text', 'tool_calls'\]"):
        TextAction(other)
