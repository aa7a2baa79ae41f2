from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.statistics import Estimate
from agent_gym_env.optimization import OptimizationResult
from agent_gym_env.optimization.dspy_run import paired
from agent_gym_env.optimization.monitor import CallCounts, ProgramScored, Stopped
from agent_gym_env.optimization.result import HeldOutScore, Turns, improvement_pct


def of_turn(name: str) -> str:
    return name.partition("#")[0]


def held_out(**rewards: float | None) -> HeldOutScore:
    known = [reward for reward in rewards.values() if reward is not None]
    named = {name.replace("_", "#"): reward for name, reward in rewards.items()}
    return HeldOutScore(Estimate(mean=sum(known) / len(known)), {}, named)


def a_result() -> OptimizationResult:
    baseline, optimized = held_out(a_0=0.25, b_0=0.25), held_out(a_0=0.5, b_0=0.75)
    return OptimizationResult(
        strategy="mipro",
        baseline=baseline,
        optimized=optimized,
        difference=paired(optimized, baseline, 0, of_turn),
        improvement_pct=150.0,
        initial_prompt="Help.",
        optimized_prompt="Help well.",
        few_shot_demos=({"conversation": "…"},),
        events=(
            ProgramScored(elapsed_s=1.0, reward=0.5, turns=3, instructions="Help.", demos=0),
            Stopped(elapsed_s=2.0, reason="KeyboardInterrupt: "),
        ),
        counts=CallCounts(calls=3),
        turns=Turns(("a#0",), ("b#0",), ("c#0",), "train", "dev", {"train": "f"}),
        settings={"seed": 0},
        versions={"dspy": "3.4.1"},
        program_path="agent.json",
        duration_s=1.5,
    )


def test_a_result_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    result = a_result()
    result.save(tmp_path / "new" / "agent_result.json")
    assert OptimizationResult.load(tmp_path / "new" / "agent_result.json") == result


def test_events_are_told_apart_by_their_kind(tmp_path: Path) -> None:
    a_result().save(tmp_path / "result.json")
    written = msgspec.json.decode((tmp_path / "result.json").read_bytes())
    assert [event["kind"] for event in written["events"]] == ["program", "stopped"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"strategy": "mipro"}', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_result_is_refused_with_its_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not the result of an optimisation") as error:
        OptimizationResult.load(path)
    assert error.value.file == str(path)


def test_a_missing_result_and_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read: No such file"):
        OptimizationResult.load(tmp_path / "none.json")
    msgspec.structs.replace(a_result(), format=2).save(tmp_path / "new.json")
    with pytest.raises(DataError, match="format is 2; this version reads 1"):
        OptimizationResult.load(tmp_path / "new.json")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0.2, 0.3, 50.0), (0.4, 0.3, -25.0), (0.0, 0.3, None), (None, 0.3, None), (0.2, None, None)],
)
def test_improvement_is_relative_to_the_baseline(
    before: float | None, after: float | None, expected: float | None
) -> None:
    assert improvement_pct(before, after) == (None if expected is None else pytest.approx(expected))


def test_programs_are_compared_on_the_turns_that_both_were_scored_on() -> None:
    first = held_out(a_0=0.5, a_1=None, b_0=1.0, c_0=0.75)
    second = held_out(a_0=0.25, a_1=1.0, b_0=0.5, c_0=None)
    difference = paired(first, second, 0, of_turn)
    assert difference.difference == 0.375
    assert (difference.count, difference.dialogues) == (2, 2)
