"""What a collection comes to does not depend on who plays it."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest

from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.rollout.collect import collect
from agent_gym_env.rollout.collection import Collection
from agent_gym_env.rollout.job_player import Outcome
from agent_gym_env.rollout.process_runner import ProcessRunner
from agent_gym_env.rollout.runners import LockstepRunner, Runner, SerialRunner, ThreadRunner
from tests.rollout.collecting import collection, open_player, records

RUNNERS = {
    "serial": SerialRunner(),
    "threads": ThreadRunner(3),
    "processes": ProcessRunner(2),
    "lockstep": LockstepRunner(3),
    "lockstep of one": LockstepRunner(1),
}
COLLECTIONS = {
    "episodes": {"jobs": 8},
    "best of three": {"jobs": 4, "best_of": 3},
    "all of three": {"jobs": 6, "best_of": 3, "keep_all": True},
    "branches": {"jobs": 3, "branches": 2},
}


def collected(folder: Path, what: Collection, runner: Runner) -> dict[tuple[int, int], object]:
    collect(what, folder, partial(open_player, what), runner)
    return dict(records(folder))


@pytest.mark.parametrize("options", COLLECTIONS.values(), ids=COLLECTIONS)
def test_every_runner_collects_the_same(
    tiny_corpus: Path, tmp_path: Path, options: dict[str, int]
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
    read: list[int] = []
    jobs = (read.append(job) or job for job in range(1000))
    outcomes = runner.run(partial(open_player, what), jobs)
    next(outcomes)
    outcomes.close()
    assert len(read) < 10


def test_a_policy_that_plays_one_dialogue_at_a_time_is_refused_in_step(tiny_corpus: Path) -> None:
    what = collection(tiny_corpus, "uniform")
    with pytest.raises(ValueError, match="'uniform' plays one dialogue at a time"):
        next(LockstepRunner(2).run(partial(open_player, what), range(2)))


