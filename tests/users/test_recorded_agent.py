"""The simulated user answers the recorded agent as the recorded user did."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from tests.users.recorded_agent import Played, play_recorded


def _shares(played: list[Played]) -> tuple[float, float, float]:
    reactions = [reaction for each in played for reaction in each.reactions]
    exact = sum(reaction.made == reaction.recorded for reaction in reactions) / len(reactions)
    successes = [each.verdict.success and each.is_exact() for each in played]
    strict = [each.verdict.strict and each.is_exact() for each in played]
    return exact, sum(successes) / len(played), sum(strict) / len(played)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_on_the_sample_corpus(split: str) -> None:
    exact, success, strict = _shares(list(play_recorded(open_corpus("sample"), split)))
    assert exact >= 0.99
    assert success >= 0.97
    assert strict >= 0.97


@pytest.mark.parametrize("split", ["dev", "test"])
def test_on_sgd(sgd_path: Path, split: str) -> None:
    """At least 99.9 % of the user's turns, and 99.4 % of the dialogues."""
    corpus: Corpus = open_corpus(sgd_path)
    exact, success, strict = _shares(list(play_recorded(corpus, split)))
    print(f"{split}: answers as recorded {exact:.4f}, success {success:.4f}, strict {strict:.4f}")
    assert exact >= 0.999
    assert success >= 0.994
    assert strict >= 0.994


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_goals_of_sgd_are_complete(sgd_path: Path, split: str) -> None:
    opened = open_corpus(sgd_path).split(split)
    goals = [opened.goal(index) for index in range(len(opened))]
    complete = sum(not goal.problems for goal in goals) / len(goals)
    print(f"{split}: complete goals {complete:.4f} of {len(goals)}")
    assert complete >= {"dev": 0.995, "test": 0.975}[split]
    assert not any("two_answers_in_one_situation" in goal.problems for goal in goals)
