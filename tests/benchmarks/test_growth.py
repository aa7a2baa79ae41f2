"""A corpus made larger is a corpus still."""

from __future__ import annotations

from pathlib import Path

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.locations import sample_path
from benchmarks.growth import grow


def test_a_grown_corpus_has_all_dialogues_under_ids_of_their_own(tmp_path: Path) -> None:
    original = open_corpus("sample").split("dev")
    grow(sample_path(), "dev", 3, tmp_path)
    grown = open_corpus(tmp_path).split("dev")
    assert len(grown) == 3 * len(original)
    assert grown.dialogue_ids()[: len(original)] == original.dialogue_ids()


def test_a_copy_differs_in_its_results_only(tmp_path: Path) -> None:
    grow(sample_path(), "dev", 2, tmp_path)
    split = open_corpus(tmp_path).split("dev")
    size = len(split) // 2
    pairs = [
        (original, copy)
        for index in range(size)
        for original, copy in zip(
            split.task(index).turns, split.task(index + size).turns, strict=True
        )
    ]
    assert all((one.user, one.text) == (two.user, two.text) for one, two in pairs)
    calls = [(one.call, two.call) for one, two in pairs if one.call and two.call]
    assert all((one.name, one.arguments) == (two.name, two.arguments) for one, two in calls)
    assert any(one.results != two.results for one, two in calls)
