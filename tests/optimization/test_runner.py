"""Optimisations from end to end, against a server that speaks OpenAI's protocol on this machine."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from agent_gym_env.assembly import rollout
from agent_gym_env.cli.main import main
from agent_gym_env.corpus.corpus import Corpus
from agent_gym_env.errors import (
    BudgetExceeded,
    DataError,
    JudgeError,
    StorageError,
    TransientLMError,
)
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.lm.budget import Budget
from agent_gym_env.lm.retry import Limits
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.optimization import OptimizationResult, OptimizationRunner
from agent_gym_env.optimization.monitor import Event, Finished, PhaseBegan, Stopped, TurnScored
from agent_gym_env.rewards.judge import JudgeReward
from tests.lm.server import LMServer
from tests.optimization.conftest import Client
from tests.optimization.pupil import CARE
from tests.rewards import judge_stubs
from tests.training.test_trackers import KEPT, Remember

QUICK: dict[str, dict[str, Any]] = {
    "bootstrap": {},
    "bootstrap_random": {"num_candidate_programs": 1},
    "mipro": {"num_candidates": 2, "num_trials": 2, "minibatch": False},
    "gepa": {"max_metric_calls": 60},
    "simba": {"bsize": 8, "num_candidates": 3, "max_steps": 2},
}

Runner = Callable[..., OptimizationRunner]


@pytest.fixture
def runner(client: Client, tmp_path: Path) -> Runner:
    """Makes small runs."""

    def make(strategy: str = "bootstrap", **arguments: Any) -> OptimizationRunner:
        arguments.setdefault("model", client())
        arguments.setdefault("options", QUICK[strategy])
        defaults = {"num_train": 12, "num_validation": 12, "num_held_out": 40, "threads": 2}
        output = tmp_path / "out" / "agent.json"
        return OptimizationRunner(
            "sample",
            strategy,
            output_path=output,
            **{**defaults, **arguments},
        )

    return make


def no_events(result: OptimizationResult) -> dict[str, Any]:
    """Return the parts of a result that must be equal: all except times and calls."""
    names = ("optimized_prompt", "few_shot_demos", "turns", "settings")
    kept = {name: getattr(result, name) for name in names}
    return {**kept, "rewards": (result.baseline.rewards, result.optimized.rewards)}


@pytest.mark.parametrize("strategy", ["bootstrap", "bootstrap_random", "mipro"])
def test_a_strategy_with_demonstrations_improves_the_score_measurably(
    strategy: str, runner: Runner
) -> None:
    result = runner(strategy).run()
    assert result.difference.verdict == "better"
    assert result.improvement_pct is not None
    assert result.improvement_pct > 50
    assert len(result.few_shot_demos) >= 3
    assert result.baseline.rewards.keys() == result.optimized.rewards.keys()
    assert (CARE in result.optimized_prompt) == (strategy == "mipro")


def test_gepa_finds_the_better_instructions(runner: Runner) -> None:
    result = runner("gepa").run()
    assert CARE in result.optimized_prompt
    assert CARE not in result.initial_prompt
    assert result.few_shot_demos == ()
    assert (result.improvement_pct or 0) > 0


def test_simba_runs(runner: Runner) -> None:
    result = runner("simba").run()
    assert result.few_shot_demos or CARE in result.optimized_prompt
    assert (result.improvement_pct or 0) > 0


@pytest.mark.long
@pytest.mark.parametrize("strategy", QUICK)
def test_a_strategy_improves_the_score_with_the_arguments_that_users_get(
    strategy: str, runner: Runner
) -> None:
    counts = {"num_train": 50, "num_validation": 50, "num_held_out": 100}
    result = runner(strategy, options={}, threads=8, **counts).run()
    print(
        f"\n| `{strategy}` | {result.baseline.reward.mean:.3f} "
        f"| {result.optimized.reward.mean:.3f} "
        f"| {result.difference.low:.3f} to {result.difference.high:.3f} "
        f"| {result.counts.calls:,} | {result.counts.calls - result.counts.cached:,} "
        f"| {result.duration_s:.0f} |"
    )
    assert result.difference.verdict == "better"


@pytest.mark.long
def test_a_run_through_litellm_and_geminis_protocol_is_the_same(
    runner: Runner, server: LMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("litellm") is None:  # imported like this it would ask the network
        pytest.skip("litellm is missing: pip install -e '.[llm]'")
    monkeypatch.setenv("GOOGLE_API_KEY", "not-a-key-at-all")
    model = {"model": "gemini/gemini-2.5-flash", "api_base": server.gemini_base}
    result = runner("mipro", model=model).run()
    assert {request.protocol for request in server.requests} == {"gemini"}
    assert result.counts.cost_usd > 0
    assert no_events(result)["rewards"] == no_events(runner("mipro").run())["rewards"]


def test_both_files_are_written_and_say_the_same(runner: Runner, tmp_path: Path) -> None:
    run = runner("mipro")
    result = run.run()
    assert run.result_path == tmp_path / "out" / "agent_result.json"
    assert OptimizationResult.load(run.result_path) == result
    state = json.loads((tmp_path / "out" / "agent.json").read_bytes())
    predictor = state["predict.predict"]
    assert predictor["signature"]["instructions"] == result.optimized_prompt
    assert len(predictor["demos"]) == len(result.few_shot_demos)
    assert (predictor["lm"], predictor["traces"], predictor["train"]) == (None, [], [])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "agent.json", "agent_result.json"
    ]  # fmt: skip


def test_no_key_is_in_any_file(client: Client, runner: Runner, tmp_path: Path) -> None:
    key = "sk-canary-0123456789abcdef"
    runner(model=client(api_key=key)).run()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_a_saved_program_plays_where_a_policy_goes_as_it_was_measured(
    runner: Runner, server: LMServer, tmp_path: Path
) -> None:
    result = runner("mipro").run()
    policy = {
        "name": "dspy", "program": result.program_path, "client": "local", "model": "pupil",
        "api_base": server.openai_base, "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    (episode,) = rollout(policy, split="dev", reward="balanced", episodes=1)
    assert episode.error is None
    assert episode.policy == "dspy:pupil"
    untouched = {**policy, "program": None}
    (before,) = rollout(untouched, split="dev", reward="balanced", episodes=1)
    after_mean, before_mean = (summarize([each]).reward.mean for each in (episode, before))
    assert after_mean is not None
    assert before_mean is not None
    assert after_mean > before_mean
    completion = episode.turns[0].steps[0].action.completion
    assert completion is not None
    assert completion.usage is not None
    assert "[[ ## reasoning ## ]]" in completion.text


def test_a_run_can_begin_with_a_saved_program(runner: Runner) -> None:
    first = runner("gepa").run()
    second = runner("bootstrap", program=first.program_path).run()
    assert second.initial_prompt == second.optimized_prompt == first.optimized_prompt
    assert second.baseline == first.optimized


def test_the_same_seed_gives_the_same_result_whatever_the_number_of_threads(
    runner: Runner,
) -> None:
    results = [no_events(runner("mipro", threads=threads).run()) for threads in (1, 4)]
    assert results[0].pop("settings") != results[1].pop("settings")
    assert results[0] == results[1]
    assert no_events(runner("mipro", seed=1).run())["turns"] != results[0]["turns"]


def test_a_second_run_is_answered_from_the_cache_and_costs_nothing(
    runner: Runner, server: LMServer
) -> None:
    first = runner("mipro").run()
    sent = len(server.exchanges)
    second = runner("mipro").run()
    assert len(server.exchanges) == sent
    assert second.counts.cached == second.counts.calls == first.counts.calls
    assert second.counts.prompt_tokens == 0
    assert no_events(second) == no_events(first)


class Interrupt:
    """Raises after so many turns."""

    def __init__(self, turns: int, error: BaseException) -> None:
        self.events: list[Event] = []
        self._left = turns
        self._error = error

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, TurnScored):
            self._left -= 1
            if self._left == 0:
                raise self._error


@pytest.mark.parametrize(
    ("turns", "error"),
    [
        (5, RuntimeError("enough")),
        (60, KeyboardInterrupt()),
        pytest.param(60, RuntimeError("enough"), marks=pytest.mark.long),
        (110, RuntimeError("enough")),
        pytest.param(110, KeyboardInterrupt(), marks=pytest.mark.long),
    ],
)
def test_a_run_that_was_broken_off_goes_on_from_the_cache(
    turns: int, error: BaseException, runner: Runner, server: LMServer, tmp_path: Path,
    client: Client,
) -> None:  # fmt: skip
    whole = runner("mipro", threads=1, model=client(cache=tmp_path / "other")).run()
    needed = len(server.exchanges)
    interrupt = Interrupt(turns, error)
    with pytest.raises(type(error)):
        runner("mipro", threads=1, callback=interrupt).run()
    assert not [event for event in interrupt.events if isinstance(event, Finished)]
    assert len(server.exchanges) < 2 * needed
    resumed = runner("mipro", threads=1).run()
    assert len(server.exchanges) == 2 * needed
    assert no_events(resumed) == no_events(whole)


def test_a_run_that_is_broken_off_writes_neither_file_and_says_why(
    runner: Runner, tmp_path: Path
) -> None:
    told: list[Event] = []

    def callback(event: Event) -> None:
        told.append(event)

    with pytest.raises(BudgetExceeded):
        runner("mipro", model=budgeted(runner, 20), callback=callback).run()
    assert isinstance(told[-1], Stopped)
    assert told[-1].reason.startswith("BudgetExceeded: ")
    assert list((tmp_path / "out").iterdir()) == []


def budgeted(runner: Runner, calls: int) -> ScriptedLM:
    left = iter(range(calls))

    def answer(_: object) -> str | BudgetExceeded:
        if next(left, None) is None:
            return BudgetExceeded(f"all {calls} calls of the budget are made")
        return "[[ ## reasoning ## ]]\n\n[[ ## response ## ]]\nHm.\n\n[[ ## tool_call ## ]]\n"

    return ScriptedLM(answer)


@pytest.mark.parametrize("strategy", QUICK)
@pytest.mark.parametrize("calls", [20, 70])
def test_a_spent_budget_ends_every_strategy_within_the_budget(
    strategy: str, calls: int, runner: Runner, client: Client, server: LMServer, tmp_path: Path
) -> None:
    model = client(budget=Budget(calls=calls), cache=None)
    with pytest.raises(BudgetExceeded, match=f"all {calls} calls"):
        runner(strategy, model=model).run()
    # The other thread's last call may still be on its way.
    assert calls - 1 <= len(server.exchanges) <= calls


def test_a_few_failures_are_borne_and_told(
    runner: Runner, client: Client, server: LMServer
) -> None:
    server.plan(*[None, "500"] * 3)
    model = client(limits=Limits(max_attempts=1), cache=None)
    result = runner(model=model, max_errors=3).run()
    assert result.counts.failed == 3
    assert result.baseline.reward.left_out == 3
    assert result.difference.count == 37


def test_more_failures_than_are_borne_end_the_run(
    runner: Runner, client: Client, server: LMServer
) -> None:
    server.faults.rate, server.faults.kinds = 1.0, ("500",)
    model = client(limits=Limits(max_attempts=1), cache=None)
    with pytest.raises(TransientLMError):
        runner(model=model, max_errors=3, threads=1).run()
    assert len(server.exchanges) == 4


def test_turns_that_a_judge_cannot_score_are_left_out(runner: Runner) -> None:
    answers = iter(range(1000))

    def judge(request: Any) -> str:
        rule = judge_stubs.refuses if next(answers) < 4 else judge_stubs.by_words
        return rule(request.messages)

    result = runner(reward=JudgeReward(ScriptedLM(judge)), threads=1).run()
    assert result.settings["reward"] == "llm_judge"
    # Each was asked twice.
    assert result.baseline.reward.left_out == 2
    assert result.baseline.components["response_quality"].count == 38
    assert result.improvement_pct is not None
    assert result.improvement_pct > 0


def test_a_judge_that_never_answers_ends_the_search(runner: Runner) -> None:
    with pytest.raises(JudgeError, match="no verdict"):
        runner(reward=JudgeReward(ScriptedLM([]))).run()


def test_a_judge_that_scores_nothing_ends_the_run_before_the_search(runner: Runner) -> None:
    told: list[Event] = []
    reward = JudgeReward(ScriptedLM(lambda request: "Nice."))
    with pytest.raises(JudgeError, match=r"llm_judge could score none of 40 turns.*no verdict"):
        runner(reward=reward, max_errors=1000, callback=told.append).run()
    phases = [event.phase for event in told if isinstance(event, PhaseBegan)]
    assert phases == ["baseline"]


def test_two_runs_in_two_threads_leave_the_process_as_they_found_it(
    runner: Runner, tmp_path: Path
) -> None:
    before = process_state()
    both_search = threading.Barrier(2, timeout=300)

    def meet(event: Event) -> None:
        if isinstance(event, PhaseBegan) and event.phase == "search":
            both_search.wait()

    runs = [runner(name, callback=meet, num_held_out=8) for name in ("mipro", "bootstrap")]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda run: run.run(), runs))
    assert all(isinstance(result, OptimizationResult) for result in results)
    assert process_state() == before


def process_state() -> list[Any]:
    """Return the state of the process that a run might change."""
    return [
        sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT), list(warnings.filters),
        logging.getLogger().handlers[:], optuna.logging.get_verbosity(), dict(os.environ),
        os.getcwd(), str(np.random.get_state()),
    ]  # fmt: skip


def test_events_tell_the_whole_story_in_order(runner: Runner) -> None:
    told: list[Event] = []
    result = runner("mipro", callback=told.append).run()
    kinds = [type(event).__name__ for event in told if not isinstance(event, TurnScored)]
    trials = ["ProgramScored"] * kinds.count("ProgramScored")
    assert len(trials) == 3
    assert kinds == [
        "Started", "PhaseBegan", "PhaseBegan", *trials, "PhaseBegan", "Finished"
    ]  # fmt: skip
    phases = [event.phase for event in told if isinstance(event, PhaseBegan)]
    assert phases == ["baseline", "search", "optimized"]
    times = [event.elapsed_s for event in told]
    assert times == sorted(times)
    assert result.events == tuple(e for e in told if not isinstance(e, TurnScored | Finished))
    assert sum(isinstance(e, TurnScored) and e.phase == "baseline" for e in told) == 40


def test_nothing_but_the_callback_is_heard(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    runner("mipro", callback=lambda event: print(type(event).__name__)).run()
    out, err = capsys.readouterr()
    assert set(out.split()) == {
        "Started", "PhaseBegan", "TurnScored", "ProgramScored", "Finished"
    }  # fmt: skip
    assert err == ""


def test_held_out_turns_are_of_dialogues_that_serve_nothing_else(runner: Runner) -> None:
    result = runner(held_out_split="train").run()
    groups = (result.turns.train, result.turns.validation, result.turns.held_out)
    dialogues = [{turn.rpartition("#")[0] for turn in group} for group in groups]
    assert sum(map(len, dialogues)) == len(set().union(*dialogues))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "copro"}, "strategy must be one of .*mipro.*, not 'copro'"),
        ({"effort": "huge"}, "effort must be one of"),
        ({"num_train": 0}, "num_train must be at least 1, not 0"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    arguments: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizationRunner(**arguments)


def test_options_that_a_result_could_not_keep_are_refused() -> None:
    with pytest.raises(TypeError, match="must be JSON values"):
        OptimizationRunner(options={"metric": print})


def test_a_place_that_cannot_be_written_is_told_before_anything_is_asked(
    client: Client, server: LMServer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write to"):
        OptimizationRunner(model=client(), output_path=tmp_path / "file" / "agent.json").run()
    assert server.exchanges == []


def test_options_that_the_optimiser_does_not_have_are_refused(runner: Runner) -> None:
    with pytest.raises(TypeError, match="temprature"):
        runner(options={"temprature": 1}).run()


def test_a_program_that_is_none_is_refused_before_anything_is_asked(
    runner: Runner, server: LMServer, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError):
        runner(program=tmp_path / "bad.json").run()
    assert server.exchanges == []


def test_the_libraries_are_loaded_only_by_a_run(sample: Corpus) -> None:
    import subprocess

    code = (
        "import sys; from agent_gym_env.optimization import OptimizationRunner, OptimizationResult;"
        "OptimizationRunner('sample'); print({'dspy', 'litellm', 'optuna'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def command(server: LMServer, tmp_path: Path, *more: str) -> list[str]:
    model = {"client": "local", "model": "pupil", "api_base": server.openai_base}
    return [
        "optimize", "--strategy", "bootstrap", "--model", json.dumps(model), "--num-train", "12",
        "--num-validation", "4", "--num-held-out", "30", "--out", str(tmp_path / "agent.json"),
        *more,
    ]  # fmt: skip


def test_the_command_prints_the_result(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(server, tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "improvement: +" in shown
    assert "bootstrap, 30 held-out turns" in shown
    assert main(command(server, tmp_path, "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["counts"]["cached"] == result["counts"]["calls"]


def test_the_command_sends_both_rewards_to_a_tracker(server: LMServer, tmp_path: Path) -> None:
    KEPT.clear()
    assert main(command(server, tmp_path, "--track", f"{Remember.__module__}:Remember")) == 0
    (kept,) = KEPT
    ((step, figures),) = kept.logged
    assert step == 0
    assert figures["optimized/reward"] > figures["baseline/reward"]
    assert (kept.settings["num_train"], kept.finished) == (12, 1)


def test_the_command_prints_events_a_line_each(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(server, tmp_path, "--events")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["kind"] == "started"
    assert events[-1]["kind"] == "finished"
    assert events[-1]["improvement_pct"] > 0


def test_a_stopped_command_says_that_it_can_be_resumed(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {
        "client": "local", "model": "pupil", "api_base": server.openai_base, "budget_calls": 10
    }  # fmt: skip
    assert main([*command(server, tmp_path), "--model", json.dumps(model)]) == 3
    assert "all 10 calls of the budget are made" in capsys.readouterr().err
    assert main(command(server, tmp_path)) == 0
