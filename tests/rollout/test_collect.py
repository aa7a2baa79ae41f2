"""Collecting in three lines: the kept episodes, their cost, and resuming a stopped run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from agent_gym_env.assembly import collect, rollout
from agent_gym_env.errors import ResumeMismatchError
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.reading import read_branches, read_episodes
from agent_gym_env.rollout.journal.recovery import check_journal
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import ProcessRunner, Runner, SerialRunner
from tests.rollout.collecting import collection, open_player


def test_what_is_collected_is_what_evaluation_plays(tiny_corpus: Path, tmp_path: Path) -> None:
    collect("uniform", tmp_path, corpus=str(tiny_corpus), seed=3)
    played = rollout("uniform", corpus=str(tiny_corpus), seed=3)
    assert [episode.turns for episode in read_episodes(tmp_path)] == [
        episode.turns for episode in played
    ]


def test_an_interrupted_collection_goes_on_where_it_was(tiny_corpus: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.played == 4:
            raise KeyboardInterrupt

    go_on = partial(collect, "uniform", tmp_path, episodes=10, corpus=str(tiny_corpus))
    with pytest.raises(KeyboardInterrupt):
        go_on(on_progress=stop)
    assert len(list(read_episodes(tmp_path))) == 4
    result = go_on()
    assert (result.done, result.played) == (10, 6)
    assert go_on().played == 0


def test_another_runner_goes_on_too_but_not_another_configuration(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    begin = partial(collect, "uniform", tmp_path / "out", corpus=str(tiny_corpus))
    begin()
    assert begin(runner="threads").played == 0
    with pytest.raises(ResumeMismatchError, match="best_of is 1 there and 2 here"):
        begin(best_of=2)
    result = begin(best_of=2, new_run=True)
    assert (Path(result.folder).name, result.played) == ("out-2", 3)


def test_the_best_of_several_is_kept_with_the_rewards_of_all(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    every = partial(collect, "uniform", corpus=str(tiny_corpus), episodes=1, best_of=5)
    every(tmp_path / "all", keep_all=True)
    every(tmp_path / "best")
    rewards = [
        sum(turn.reward or 0.0 for turn in episode.turns) / len(episode.turns)
        for episode in read_episodes(tmp_path / "all")
    ]
    (line,) = (tmp_path / "best" / "episodes-00000.jsonl").read_text().splitlines()
    assert json.loads(line)["candidates"] == rewards
    (best,) = read_episodes(tmp_path / "best")
    assert best.turns == list(read_episodes(tmp_path / "all"))[rewards.index(max(rewards))].turns


def test_what_models_took_is_on_each_step_and_added_up_over_all_that_was_played(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    what = collection(tiny_corpus, jobs=3, best_of=2)
    kept = run_collection(what, tmp_path / "best", partial(open_player, what), SerialRunner())
    what = collection(tiny_corpus, jobs=6, best_of=2, keep_all=True)
    run_collection(what, tmp_path / "all", partial(open_player, what), SerialRunner())
    completions = [
        step.action.completion
        for episode in read_episodes(tmp_path / "all")
        for turn in episode.turns
        for step in turn.steps
    ]
    usages = [each.usage for each in completions if each is not None and each.usage is not None]
    assert len(usages) == len(completions)
    assert kept.spending == Spending(
        completions=len(completions),
        prompt_tokens=10 * len(completions),
        completion_tokens=sum(each.completion_tokens for each in usages),
        cost_usd=0.5 * len(completions),
    )


def test_progress_tells_rate_and_time_left(tiny_corpus: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    collect("oracle", tmp_path, episodes=6, corpus=str(tiny_corpus), on_progress=told.append)
    assert [progress.done for progress in told] == [1, 2, 3, 4, 5, 6]
    half = told[2]
    assert half.per_s == pytest.approx(3 / half.elapsed_s)
    assert half.remaining_s == pytest.approx(half.elapsed_s)
    assert told[-1].remaining_s == 0


def test_branches_play_on_from_each_state_of_the_path(tiny_corpus: Path, tmp_path: Path) -> None:
    collect(["oracle", "uniform"], tmp_path, branches=2, corpus=str(tiny_corpus), reward="balanced")
    points = [point for point in read_branches(tmp_path) if point.dialogue_id == "1_00000"]
    # The oracle calls and then speaks in the first three turns, and says goodbye in the fourth.
    assert [(point.turn, point.step) for point in points] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0),
    ]  # fmt: skip
    for point in points:
        assert [branch.policy for branch in point.branches] == ["oracle"] * 2 + ["uniform"] * 2
        oracle, _, first, second = point.branches
        assert (oracle.reward, len(oracle.steps)) == (1.0, 2 - (point.turn == 3 or point.step))
        assert second.seed == (first.seed or 0) + 1
    after_the_call = json.loads(points[1].messages)
    assert [message["role"] for message in after_the_call] == ["user", "assistant", "tool"]


def test_branches_that_failed_are_counted_again_and_again(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    model = {"fails_on": "Do you sell black tea?"}
    what = collection(tiny_corpus, "oracle", "model", jobs=3, branches=2, model=model)
    go_on = partial(run_collection, what, tmp_path, partial(open_player, what), SerialRunner())
    result = go_on()
    branches = [branch for point in read_branches(tmp_path) for branch in point.branches]
    assert (result.done, result.failed) == (3, 0)
    assert result.failed_branches == sum(branch.error is not None for branch in branches) == 2
    assert go_on().failed_branches == check_journal(tmp_path).failed_branches == 2


@pytest.mark.parametrize("runner", ["processes", "ray", ProcessRunner(2), RayRunner(2)])
def test_a_budget_is_refused_where_each_process_would_spend_it(
    tmp_path: Path, runner: str | Runner
) -> None:
    policy = {"name": "llm", "model": "m", "budget_calls": 5}
    with pytest.raises(ValueError, match="budget_calls is kept by one process"):
        collect(policy, tmp_path, runner=runner)
    with pytest.raises(ValueError, match="budget_calls is kept by one process"):
        collect("oracle", tmp_path, runner=runner, branches=1, path=policy)


def test_a_runner_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runner must be one of"):
        collect("oracle", tmp_path, runner="magic")
