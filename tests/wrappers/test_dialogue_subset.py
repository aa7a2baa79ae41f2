"""A subset plays its dialogues and no other, the same ones with the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.wrappers import DialogueSubset
from tests.corpora import TRAIN
from tests.wrappers.conftest import Make

TEA, BLACK, MIXED = (dialogue.dialogue_id for dialogue in TRAIN)


def drawn(env: DialogueSubset, seed: int, times: int = 12) -> list[str]:
    """The dialogues of some episodes, the first one seeded."""
    return [env.reset(seed=seed if time == 0 else None)[1]["dialogue_id"] for time in range(times)]


def test_only_its_dialogues_are_drawn(make: Make) -> None:
    assert set(drawn(DialogueSubset(make(), [TEA, MIXED]), seed=0)) == {TEA, MIXED}


def test_the_same_seed_draws_the_same_dialogues(make: Make) -> None:
    env = DialogueSubset(make(), [TEA, BLACK, MIXED])
    assert drawn(env, seed=3) == drawn(env, seed=3) != drawn(env, seed=4)


def test_a_dialogue_can_be_named(make: Make) -> None:
    _, info = DialogueSubset(make(), [TEA]).reset(options={"dialogue_id": BLACK})
    assert info["dialogue_id"] == BLACK


def test_the_draws_are_part_of_the_environments_state(make: Make) -> None:
    env = DialogueSubset(make(), [TEA, BLACK, MIXED])
    env.reset(seed=0)
    state = env.unwrapped.get_state()  # type: ignore[attr-defined]
    first = [env.reset()[1]["dialogue_id"] for _ in range(8)]
    env.unwrapped.set_state(state)  # type: ignore[attr-defined]
    assert [env.reset()[1]["dialogue_id"] for _ in range(8)] == first


@pytest.mark.parametrize("of", [np.array, iter])
def test_ids_may_come_from_anything_that_gives_them(make: Make, of: Callable[..., Any]) -> None:
    env = DialogueSubset(make(), of([TEA, MIXED]))
    assert env.dialogue_ids == (TEA, MIXED)
    assert set(drawn(env, seed=0)) == {TEA, MIXED}


def test_the_seed_is_known(make: Make) -> None:
    env = DialogueSubset(make(), [TEA])
    env.reset(seed=7)
    assert env.np_random_seed == 7


@pytest.mark.parametrize(
    ("ids", "error"), [([], ValueError), ("1_00000", TypeError), ([TEA, "nowhere"], DataError)]
)
def test_it_needs_ids_of_the_split(make: Make, ids: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"dialogue_ids is empty|not the string '1_00000'|nowhere"):
        DialogueSubset(make(), ids)
