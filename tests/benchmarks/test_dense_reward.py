"""The dense rewards of ``SGD-v0`` and success in ``SGDSim-v0``, for the same mistakes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.dense_reward import MISTAKES, SHARES, main


@pytest.fixture(scope="module")
def figures() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", printed.append)
        assert main(["--episodes", "12", "--policy", "silent", "--json"]) == 0
    return json.loads(printed[0])


def test_the_oracles_earn_everything(figures: Any) -> None:
    assert set(figures["systems"]["oracle"].values()) == {1.0}
    assert figures["systems"]["silent"]["strict"] == 0
    assert len(figures["systems"]) == len(MISTAKES) * len(SHARES) + 2


def test_every_mistake_that_is_always_made_is_noticed_by_one_of_the_two(figures: Any) -> None:
    for name in MISTAKES:
        found = figures["systems"][f"{name} (100%)"]
        assert min(found["balanced"], found["strict"]) < 0.9, name


def test_the_two_disagree_about_words_and_values(figures: Any) -> None:
    """Other words lose half of `balanced` and no success; wrong values the other way round."""
    words = figures["systems"]["other words (100%)"]
    values = figures["systems"]["wrong values (100%)"]
    assert (words["strict"], values["strict"]) == (1, 0)
    assert words["balanced"] < 0.5 < 0.9 < values["balanced"]


def test_a_correlation_lies_in_its_interval(figures: Any) -> None:
    for value, low, high in figures["rank correlation with strict"].values():
        assert -1 <= low <= value <= high <= 1
