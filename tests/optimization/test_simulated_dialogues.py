"""Optimisations of whole simulated dialogues, against a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import rollout
from agent_gym_env.cli.main import main
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.errors import ContextExceeded
from agent_gym_env.evaluation.simulated import outcome
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.retry import Limits
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.optimization import OptimizationResult, OptimizationRunner
from agent_gym_env.optimization.dspy_run import check_leaks
from agent_gym_env.optimization.monitor import Event, Finished, TurnScored
from agent_gym_env.optimization.result import Turns
from tests.lm.server import LMServer
from tests.lm.wire_formats import ChatRequest
from tests.optimization.conftest import Client
from tests.optimization.pupil import CARE, SimulationPupil, simulated_steps

QUICK: dict[str, dict[str, Any]] = {
    "bootstrap": {},
    "bootstrap_random": {"num_candidate_programs": 1},
    "mipro": {"num_candidates": 3, "num_trials": 3, "minibatch": False},
    "gepa": {"max_metric_calls": 40},
    "simba": {"bsize": 8, "num_candidates": 3, "max_steps": 2},
}
UNTAUGHT = {"remembers": 0.0, "per_demo": 1.0, "with_care": 1.0}
"""A pupil who solves a dialogue only with a demonstration or the instruction."""

SOME = {"remembers": 0.3, "per_demo": 0.1, "with_care": 0.3}
"""A pupil who solves some dialogues by itself, and more the more it is taught."""

Runner = Callable[..., OptimizationRunner]


@pytest.fixture(scope="module")
def steps() -> dict[str, tuple[str, str]]:
    return simulated_steps("sample", ["train", "dev"])


@pytest.fixture
def pupil(steps: dict[str, tuple[str, str]]) -> SimulationPupil:
    return SimulationPupil(steps, **SOME)


@pytest.fixture
def runner(client: Client, tmp_path: Path) -> Runner:
    """Makes small runs."""

    def make(strategy: str = "bootstrap", **arguments: Any) -> OptimizationRunner:
        arguments.setdefault("model", client())
        arguments.setdefault("options", QUICK[strategy])
        arguments.setdefault("env", "SGDSim-v0")
        arguments.setdefault("reward", "task_strict")
        defaults = {"num_train": 8, "num_validation": 6, "num_held_out": 12, "threads": 1}
        output = tmp_path / "out" / "agent.json"
        return OptimizationRunner(
            "sample", strategy, output_path=output, **{**defaults, **arguments}
        )

    return make


def strict(result: OptimizationResult) -> tuple[float, float]:
    """Return the share of held-out dialogues with a strict success, before and after."""
    before, after = (each.components["strict"].mean for each in (result.baseline, result.optimized))
    assert before is not None
    assert after is not None
    return before, after


@pytest.mark.parametrize("strategy", ["bootstrap", "bootstrap_random", "mipro"])
def test_demonstrations_of_successful_dialogues_make_others_succeed(
    strategy: str, runner: Runner, server: LMServer, steps: dict[str, tuple[str, str]]
) -> None:
    pupil = SimulationPupil(steps, **UNTAUGHT)
    server.agent = lambda request: pupil.answer(request.messages)
    result = runner(strategy).run()
    before, after = strict(result)
    assert before == 0.0
    assert after == 1.0
    assert result.difference.verdict == "better"
    assert (result.unit, len(result.baseline.rewards)) == ("dialogue", 12)
    assert result.few_shot_demos or CARE in result.optimized_prompt


def test_gepa_finds_the_instruction_from_what_was_missing(runner: Runner, server: LMServer) -> None:
    result = runner("gepa").run()
    before, after = strict(result)
    assert CARE in result.optimized_prompt
    assert after > before
    reflecting = [
        request.messages[-1]["content"]
        for request in server.requests
        if "Missing for a strict success: " in request.messages[-1]["content"]
    ]
    assert any("The dialogue:" in text and "errand_0_not_settled" in text for text in reflecting)


def test_simba_learns_from_dialogues_that_vary_between_draws(runner: Runner) -> None:
    result = runner("simba").run()
    before, after = strict(result)
    assert result.few_shot_demos or CARE in result.optimized_prompt
    assert after > before


MEASURED: dict[str, dict[str, Any]] = {
    "bootstrap": {},
    "bootstrap_random": {},
    "mipro": {},
    "gepa": {"max_metric_calls": 150},
    "simba": {"bsize": 16, "max_steps": 2},
}


@pytest.mark.long
@pytest.mark.parametrize("strategy", MEASURED)
def test_a_strategy_raises_strict_success_on_the_whole_dev_split(
    strategy: str, runner: Runner
) -> None:
    counts = {"num_train": 30, "num_validation": 30, "num_held_out": 52}
    result = runner(strategy, options=MEASURED[strategy], **counts).run()
    before, after = strict(result)
    print(
        f"\n| `{strategy}` | `{json.dumps(MEASURED[strategy])}` | {before:.3f} | {after:.3f} "
        f"| {result.difference.low:.3f} to {result.difference.high:.3f} "
        f"| {result.counts.calls:,} | {result.counts.calls - result.counts.cached:,} "
        f"| {result.duration_s:.0f} |"
    )
    assert after > before


@pytest.mark.parametrize("reward", ["task", "task_success", "milestones"])
def test_every_reward_of_the_simulation_can_be_increased(reward: str, runner: Runner) -> None:
    result = runner("bootstrap_random", reward=reward).run()
    assert result.difference.difference is not None
    assert result.difference.difference > 0
    assert list(result.baseline.components) == ["success", "strict", "milestones"]
    if reward == "milestones":
        assert result.optimized.reward.mean == result.optimized.components["milestones"].mean


def test_a_dialogue_is_played_as_evaluation_plays_it(
    runner: Runner, server: LMServer, tmp_path: Path
) -> None:
    result = runner(reward="task").run()
    policy = {
        "name": "dspy", "program": result.program_path, "client": "local", "model": "pupil",
        "api_base": server.openai_base, "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    played = {}
    for episode in rollout(policy, env="SGDSim-v0", split="dev", reward="task"):
        played[episode.dialogue_id] = episode
    for dialogue, reward in result.optimized.rewards.items():
        episode = played[dialogue]
        assert reward == sum(turn.reward or 0.0 for turn in episode.turns)
        assert outcome(episode) is not None


def test_the_result_says_where_demonstrations_are_from_and_that_nothing_leaked(
    runner: Runner,
) -> None:
    run = runner("bootstrap", held_out_split="train")
    result = run.run()
    check = result.leak_check
    assert check is not None
    assert (check.learned_from, check.held_out, check.overlap) == (14, 12, 0)
    assert len(check.demonstrations) == len(result.few_shot_demos) == 4
    assert set(check.demonstrations) <= set(result.turns.train)
    groups = (result.turns.train, result.turns.validation, result.turns.held_out)
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert OptimizationResult.load(run.result_path) == result


def test_a_dialogue_that_is_also_learned_from_is_refused(sample: Corpus) -> None:
    [first, second] = sample.split("train").dialogue_ids()[:2]
    turns = Turns((first,), (), (second, first), "train", "train", {})
    with pytest.raises(ValueError, match=r"1 held-out dialogues .* choose another held_out_split"):
        check_leaks(sample, turns, str)


def test_no_dialogue_of_the_held_out_split_is_asked_about_in_the_search(
    runner: Runner, server: LMServer
) -> None:
    beginnings: dict[str, set[str]] = {}
    for name in ("train", "dev"):
        split = open_corpus("sample").split(name)
        beginnings[name] = {split.task(index).turns[0].user for index in range(len(split))}
    only_dev = beginnings["dev"] - beginnings["train"]
    phase = ""
    asked: list[tuple[str, str]] = []

    def note(event: Event) -> None:
        nonlocal phase
        phase = getattr(event, "phase", phase)
        asked.extend(
            (phase, each.messages[-1]["content"]) for each in server.requests[len(asked) :]
        )

    runner("mipro", callback=note).run()
    of_dev = [phase for phase, text in asked if any(json.dumps(each) in text for each in only_dev)]
    assert {phase for phase, _ in asked} == {"baseline", "search", "optimized"}
    assert set(of_dev) == {"baseline", "optimized"}


class Interrupt:
    """Raises after so many dialogues."""

    def __init__(self, dialogues: int) -> None:
        self._left = dialogues

    def __call__(self, event: Event) -> None:
        assert not isinstance(event, Finished)
        self._left -= isinstance(event, TurnScored)
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("dialogues", [5, 20, pytest.param(30, marks=pytest.mark.long)])
def test_a_run_that_was_stopped_asks_nothing_twice(
    dialogues: int, runner: Runner, server: LMServer, client: Client, tmp_path: Path
) -> None:
    small = {"num_train": 4, "num_validation": 3, "num_held_out": 4}
    whole = runner("mipro", model=client(cache=tmp_path / "other"), **small).run()
    needed = len(server.exchanges)
    with pytest.raises(KeyboardInterrupt):
        runner("mipro", callback=Interrupt(dialogues), **small).run()
    assert needed < len(server.exchanges) < 2 * needed
    resumed = runner("mipro", **small).run()
    assert len(server.exchanges) == 2 * needed
    assert resumed.optimized == whole.optimized
    assert resumed.few_shot_demos == whole.few_shot_demos
    assert resumed.leak_check == whole.leak_check


def test_threads_change_nothing(runner: Runner) -> None:
    first, second = (runner(threads=threads).run() for threads in (1, 4))
    assert (first.baseline, first.optimized) == (second.baseline, second.optimized)
    assert first.few_shot_demos == second.few_shot_demos


def test_a_model_that_does_not_answer_leaves_its_dialogues_out(
    runner: Runner, client: Client, server: LMServer
) -> None:
    server.plan(*[None, "500"] * 3)
    model = client(limits=Limits(max_attempts=1), cache=None)
    result = runner(model=model, max_errors=3).run()
    assert result.counts.failed == 3
    assert result.baseline.reward.left_out == 3
    assert result.baseline.components["strict"].count == 9
    assert result.optimized.reward.left_out == 0


def test_a_prompt_that_is_too_long_is_the_programs_failure(runner: Runner) -> None:
    model = ScriptedLM(lambda request: ContextExceeded("9,000 tokens, and 8,192 fit"))
    result = runner(model=model, max_errors=0).run()
    assert result.counts.failed == result.counts.calls > 0
    assert (result.baseline.reward.mean, result.baseline.reward.left_out) == (0.0, 0)


def test_a_users_model_is_counted_too(
    runner: Runner, server: LMServer, pupil: SimulationPupil
) -> None:
    def answer(request: ChatRequest) -> str:
        is_agent = "`tool_call`" in str(request.messages[0]["content"])
        return pupil.answer(request.messages) if is_agent else "Nothing that can be used."

    server.agent = answer
    user = {"name": "llm", "client": "local", "model": "pupil", "api_base": server.openai_base}
    sizes = {"num_train": 1, "num_validation": 1, "num_held_out": 2}
    result = runner(env={"name": "SGDSim-v0", "user": user}, **sizes).run()
    by_users = [
        each for each in server.requests if "`tool_call`" not in each.messages[0]["content"]
    ]
    assert by_users
    assert result.counts.calls - result.counts.cached == len(server.requests)


def test_costs_are_counted(runner: Runner, client: Client, server: LMServer) -> None:
    result = runner(model=client(price=Price(prompt=1.0, completion=2.0), cache=None)).run()
    counts, billed = result.counts, [each.billed for each in server.exchanges if each.billed]
    assert (counts.calls, counts.unpriced) == (len(billed), 0)
    assert counts.prompt_tokens == sum(each.prompt for each in billed)
    expected = 1e-6 * counts.prompt_tokens + 2e-6 * counts.completion_tokens
    assert counts.cost_usd == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": "SGDSim"}, "env must be one of"),
        ({"env": {"name": "SGD-v0", "patience": 3}}, r"takes no options .* \['patience'\]"),
        ({"reward": "balanced"}, "reward of SGDSim-v0 must be one of"),
        ({"env": {"name": "SGDSim-v0", "understanding": "acts"}}, "writes text and no acts"),
        ({"env": {"name": "SGDSim-v0", "patient": 3}}, "patience"),
        ({"num_held_out": 53}, "split 'dev' has 52 dialogues to play, and 53 are asked for"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    arguments: Mapping[str, Any], message: str, runner: Runner, server: LMServer
) -> None:
    with pytest.raises(ValueError, match=message):
        runner(**arguments).run()
    assert server.exchanges == []


def test_the_command_prints_the_verdict_before_and_after(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"client": "local", "model": "pupil", "api_base": server.openai_base}
    command = [
        "optimize", "--env", "SGDSim-v0", "--reward", "task_strict", "--strategy", "bootstrap",
        "--model", json.dumps(model), "--num-train", "6", "--num-validation", "2",
        "--num-held-out", "10", "--out", str(tmp_path / "agent.json"),
    ]  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "bootstrap, 10 held-out dialogues" in shown
    assert "strict: 0." in shown
    assert "milestones: 0." in shown
