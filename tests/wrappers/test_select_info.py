"""``SelectInfo`` keeps what is named, and nothing else changes."""

from __future__ import annotations

import pytest

from agent_gym_env.wrappers import SelectInfo
from tests.wrappers.conftest import Make


def test_only_what_is_named_is_kept(make: Make) -> None:
    env = SelectInfo(make(), ["dialogue_id", "turn"])
    _, info = env.reset(seed=0)
    assert set(info) == {"dialogue_id", "turn"}
    *_, info = env.step("Hello.")
    assert (set(info), info["turn"]) == ({"dialogue_id", "turn"}, 1)


def test_what_is_not_there_is_left_out(make: Make) -> None:
    _, info = SelectInfo(make(), ["nothing"]).reset(seed=0)
    assert info == {}


def test_nothing_else_changes(make: Make) -> None:
    bare, lean = make(), SelectInfo(make(), [])
    assert bare.reset(seed=1)[0] == lean.reset(seed=1)[0]
    assert bare.step("Hello.")[:4] == lean.step("Hello.")[:4]


def test_one_string_is_refused_as_a_list_of_names(make: Make) -> None:
    with pytest.raises(TypeError, match="keys must be a list of strings, not the string 'turn'"):
        SelectInfo(make(), "turn")
