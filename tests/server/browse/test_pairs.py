from pathlib import Path

import pytest

from agent_gym_env.evaluation.compare import compare
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.server.browse.index import Index
from agent_gym_env.server.browse.pairs import compare_runs, pairs
from agent_gym_env.server.browse.runs import RunFolder
from tests.evaluation.episode_factory import episode, episodes, turn
from tests.server.browse.recorded_runs import write_run


def indexes(tmp_path: Path, first: list[Episode], second: list[Episode]) -> list[Index]:
    write_run(tmp_path / "runs" / "a", first)
    write_run(tmp_path / "runs" / "b", second)
    found = [Index(run, tmp_path / "cache") for run in RunFolder(tmp_path / "runs").runs()]
    for index in found:
        index.update()
    return found


def test_episodes_of_one_dialogue_and_seed_are_paired(tmp_path: Path) -> None:
    first = [*episodes([0.2], [0.9], [0.5]), episode(turn(0.1), dialogue_id="1_00000", seed=7)]
    second = [*episodes([0.6], [0.4], [0.5]), episode(turn(0.1), dialogue_id="1_00000", seed=8)]
    a, b = indexes(tmp_path, first, second)
    listed, count = pairs(a, b, order="dialogue")
    assert count == 3
    assert [each.rewards for each in listed] == [(0.2, 0.6), (0.9, 0.4), (0.5, 0.5)]
    assert a.episode(listed[0].first) == first[0]
    assert b.episode(listed[0].second) == second[0]


def test_pairs_are_ordered_by_their_difference(tmp_path: Path) -> None:
    a, b = indexes(
        tmp_path, episodes([0.2], [0.9], [0.5], [None]), episodes([0.6], [0.3], [0.5], [1])
    )

    def order(name: str, *, apart: bool = False) -> list[str]:
        return [each.dialogue_id[-1] for each in pairs(a, b, order=name, apart=apart)[0]]

    assert order("worse") == ["0", "2", "1", "3"]
    assert order("better") == ["1", "2", "0", "3"]
    assert order("apart") == ["1", "0", "2", "3"]
    assert order("worse", apart=True) == ["0", "1", "3"]


def test_the_statistics_are_those_of_compare(tmp_path: Path) -> None:
    first, second = episodes(*[[0.9, 0.7]] * 9, [0.1]), episodes(*[[0.5, 0.6]] * 9, [0.3])
    a, b = indexes(tmp_path, first, second)
    assert compare_runs(a, b) == compare(first, second)


def test_runs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    a, b = indexes(tmp_path, episodes([0.9]), episodes([0.9], reward="balanced"))
    with pytest.raises(ValueError, match="reward differs"):
        compare_runs(a, b)


def test_failed_jobs_and_damaged_lines_are_left_out(tmp_path: Path) -> None:
    failed = episode(turn(0.0), dialogue_id="1_00001", error="ValueError: no", terminated=False)
    first = episodes([0.9], [0.8], [0.7])
    a, b = indexes(tmp_path, [first[0], failed, first[2]], first)
    assert compare_runs(a, b).episodes == 2
    assert pairs(a, b)[1] == 3
