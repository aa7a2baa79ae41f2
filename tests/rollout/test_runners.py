"""The episodes of a collection do not depend on the runner."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.rollout.collect import run_collection
from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.runners import (
    LockstepRunner,
    ProcessRunner,
    Runner,
    SerialRunner,
    ThreadRunner,
)
from tests.rollout.collecting import collection, open_player, records

RUNNERS: dict[str, Runner] = {
    "serial": SerialRunner(),
    "threads": ThreadRunner(3),
    "processes": ProcessRunner(2),
    "lockstep": LockstepRunner(3),
    "lockstep of one": LockstepRunner(1),
}
COLLECTIONS: dict[str, dict[str, Any]] = {
    "episodes": {"jobs": 8},
    "best of three": {"jobs": 4, "best_of": 3},
    "all of three": {"jobs": 6, "best_of": 3, "keep_all": True},
    "branches": {"jobs": 3, "branches": 2},
}


def collected(folder: Path, what: Collection, runner: Runner) -> dict[tuple[int, int], object]:
    run_collection(what, folder, partial(open_player, what), runner)
    return dict(records(folder))


@pytest.mark.parametrize("options", COLLECTIONS.values(), ids=COLLECTIONS)
def test_every_runner_collects_the_same(
    tiny_corpus: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    what = collection(tiny_corpus, **options)
    runs = {name: collected(tmp_path / name, what, runner) for name, runner in RUNNERS.items()}
    assert {job for job, _ in runs["serial"]} == set(range(options["jobs"]))
    for name, found in runs.items():
        assert found == runs["serial"], name


def test_branches_of_several_policies_are_the_same_in_step(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    what = collection(tiny_corpus, "model", "oracle", "uniform", jobs=3, branches=2)
    serial = collected(tmp_path / "serial", what, SerialRunner())
    assert collected(tmp_path / "lockstep", what, LockstepRunner(4)) == serial


@pytest.mark.parametrize("runner", [SerialRunner(), ThreadRunner(2), LockstepRunner(2)])
def test_jobs_are_read_no_faster_than_they_are_played(tiny_corpus: Path, runner: Runner) -> None:
    what = collection(tiny_corpus, jobs=1000)
    jobs = iter(range(1000))
    outcomes = runner.run(partial(open_player, what), jobs)
    next(outcomes)
    outcomes.close()
    assert next(jobs) < 10


def test_a_policy_that_plays_one_dialogue_at_a_time_is_refused_in_step(tiny_corpus: Path) -> None:
    what = collection(tiny_corpus, "uniform")
    with pytest.raises(ValueError, match="'uniform' plays one dialogue at a time"):
        next(LockstepRunner(2).run(partial(open_player, what), range(2)))


@pytest.mark.parametrize("name", RUNNERS)
def test_a_failed_episode_is_a_record_beside_and_ends_no_other(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    what = collection(tiny_corpus, jobs=6, model={"fails_on": "Do you sell black tea?"})
    result = run_collection(what, tmp_path, partial(open_player, what), RUNNERS[name])
    assert (result.done, result.failed, result.played) == (4, 2, 6)
    failed = (tmp_path / "failed.jsonl").read_text().splitlines()
    assert [msgspec.json.decode(line)["error_class"] for line in failed] == ["PermanentLMError"] * 2
    assert {record["dialogue_id"] for record in records(tmp_path).values()} == {
        "1_00000",
        "1_00001",
    }


@pytest.mark.parametrize("name", RUNNERS)
def test_an_error_that_stops_the_run_leaves_what_was_played(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    stopping = collection(tiny_corpus, jobs=30, model={"stops_after": 20})
    with pytest.raises(BudgetExceeded):
        run_collection(stopping, tmp_path, partial(open_player, stopping), RUNNERS[name])
    before = records(tmp_path)
    assert 0 < len(before) < 30
    # The same collection, as it would be with more to spend.
    rich = partial(open_player, collection(tiny_corpus, jobs=30))
    assert run_collection(stopping, tmp_path, rich, RUNNERS[name]).done == 30
    assert before.items() <= records(tmp_path).items()


@pytest.mark.parametrize("name", RUNNERS)
def test_a_player_that_cannot_be_made_is_an_error_of_the_run(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    what = collection(tiny_corpus, "nobody")
    with pytest.raises(ValueError, match="policy must be one of"):
        run_collection(what, tmp_path, partial(open_player, what), RUNNERS[name])
