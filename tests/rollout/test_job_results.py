"""The result of a job: the best episode that ended, all spending, and the reason of a failure."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_gym_env.corpus.task import Turn
from agent_gym_env.rollout.branching import Branch, BranchPoint
from agent_gym_env.rollout.episode import Episode, Spending, StepRecord, TurnRecord
from agent_gym_env.rollout.jobs import Job, best_episode, branch_points
from agent_gym_env.types import Action, Completion, Usage

STEP = StepRecord(Action("Hi.", completion=Completion("Hi.", usage=Usage(3, 4), cost_usd=0.25)))
UNPRICED = StepRecord(Action("Hi.", completion=Completion("Hi.")))
JOB = Job(7, "1_00000", (5,))


def episode(policy: str, *rewards: float | None, error: str | None = None) -> Episode:
    turns = tuple(
        TurnRecord("Hi", (STEP,), Turn("Hi", "Hello", "Teas_1", None), reward) for reward in rewards
    )
    return Episode("1_00000", "train", "f", ("Teas_1",), "2019-03-01", policy, "r", turns,
                   error=error)  # fmt: skip


def point(*branches: Branch) -> BranchPoint:
    return BranchPoint("1_00000", "train", "f", ("Teas_1",), "2019-03-01", "r", 0, "[]", branches)


def kept(outcome: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(outcome.records[0])
    return found


def test_the_best_mean_reward_is_kept_turns_without_one_left_out() -> None:
    outcome = best_episode(
        7, [episode("a", 0.5, 0.5), episode("b", None, 0.75), episode("c", 0.75), episode("d")]
    )
    assert kept(outcome)["policy"] == "b"
    assert outcome.entry.job == 7
    assert outcome.entry.candidates == (0.5, 0.75, 0.75, None)
    assert outcome.entry.spending == Spending(5, 15, 20, 1.25)


def test_an_episode_that_failed_is_not_the_best() -> None:
    outcome = best_episode(7, [episode("a", 1.0, error="OSError: no"), episode("b", 0.1)])
    assert kept(outcome)["policy"] == "b"
    assert outcome.entry.error_class is None
    assert outcome.entry.candidates == (None, 0.1)


def test_where_all_have_failed_so_has_the_job() -> None:
    outcome = best_episode(7, [episode("a", error="OSError: no"), episode("b", error="E: x")])
    assert (outcome.entry.error_class, kept(outcome)["error"]) == ("OSError", "OSError: no")


def test_branches_are_kept_if_one_has_ended_and_the_way_is_paid_for() -> None:
    points = [point(Branch("a", (STEP,)), Branch("b", (), error="OSError: no"))]
    outcome = branch_points(JOB, points, [UNPRICED])
    assert msgspec.json.decode(outcome.records[0], type=BranchPoint) == points[0]
    assert outcome.entry.spending == Spending(2, 3, 4, 0.25, unpriced=1)
    assert (outcome.entry.failed_branches, outcome.entry.error_class) == (1, None)


def test_where_all_branches_have_failed_so_has_the_job() -> None:
    failed = Branch("a", (), error="OSError: no")
    outcome = branch_points(JOB, [point(failed), point(failed)], [])
    assert outcome.entry.error_class == "OSError"
    assert kept(outcome) == {
        "dialogue_id": "1_00000", "policy": "a", "seed": 5, "error": "OSError: no",
    }  # fmt: skip
    assert outcome.entry.spending is None
