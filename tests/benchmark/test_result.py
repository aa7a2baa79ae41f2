"""Figures of a result, worked by hand and against those of `summarize`."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from agent_gym_env import summarize
from agent_gym_env.benchmark import Manifest, new_manifest, read_result, run_benchmark
from agent_gym_env.benchmark.result import EpisodeOutcome, figures_of
from agent_gym_env.benchmark.run import JOURNAL, RESULT
from agent_gym_env.errors import DataError, ResumeMismatchError
from agent_gym_env.rollout.collect import Progress
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.reading import read_played
from agent_gym_env.types import Action, Observation

NOISE = {"acts": 0.1, "values": 0.05}


@pytest.fixture(scope="module")
def simulated() -> Manifest:
    return new_manifest(
        "s", env="SGDSim-v0", split="dev", episodes=4, trials=3, understanding="acts", noise=NOISE
    )


@pytest.fixture(scope="module")
def recorded() -> Manifest:
    return new_manifest("r", split="dev", episodes=4)


def played(dialogue_id: str, seed: int, strict: bool) -> EpisodeOutcome:
    return EpisodeOutcome(
        dialogue_id, seed, turns=2, rewards=(0.0, float(strict)), success=True, strict=strict,
        milestones=1.0,
    )  # fmt: skip


def test_pass_all_is_the_unbiased_estimate_worked_by_hand(simulated: Manifest) -> None:
    # 2 of 3 and 3 of 3 plays: pass^1 = (2/3 + 1) / 2, pass^2 = (1/3 + 1) / 2, pass^3 = (0 + 1) / 2
    rows = [played("a", n, strict=n > 0) for n in range(3)]
    rows += [played("b", n, strict=True) for n in range(3)]
    figures = figures_of(simulated, rows)
    assert [each.k for each in figures.pass_all] == [1, 2, 3]
    assert [each.strict.mean for each in figures.pass_all] == pytest.approx([5 / 6, 2 / 3, 1 / 2])
    assert [each.success.mean for each in figures.pass_all] == [1, 1, 1]
    assert figures.estimates["strict"].mean == pytest.approx(5 / 6)
    assert figures.estimates["strict"].low is not None
    assert figures.pass_all[2].strict.high == 1.0


def test_the_figures_of_simulated_dialogues_are_those_of_an_evaluation(
    simulated: Manifest, tmp_path: Path
) -> None:
    result = run_benchmark(simulated, "acts-oracle", tmp_path)
    summary = summarize(read_played(tmp_path / JOURNAL)).simulated
    assert summary is not None
    found = result.figures.estimates
    for name in ("strict", "success", "milestones", "turns", "calls"):
        assert found[name] == getattr(summary, name), name
    assert found["unseen"] == summary.strict_in["unseen"]
    all_strict = [each.all_strict for each in summary.reliability]
    assert [each.strict for each in result.figures.pass_all] == all_strict


def test_the_figures_of_recorded_dialogues_are_those_of_an_evaluation(
    recorded: Manifest, tmp_path: Path
) -> None:
    result = run_benchmark(recorded, "retrieval", tmp_path)
    summary = summarize(read_played(tmp_path / JOURNAL))
    found = result.figures.estimates
    for name, expected in (
        ("reward", summary.reward),
        ("exact_calls", summary.tools.exact_match),
        ("return", summary.mean_return),
    ):
        assert found[name].mean == pytest.approx(expected.mean), name
        assert found[name].low == pytest.approx(expected.low), name
        assert found[name].count == expected.count, name
    assert result.figures.pass_all == ()


def test_the_spending_of_all_episodes_is_added_up(recorded: Manifest) -> None:
    spending = Spending(1, 10, 5, 0.01)
    rows = [EpisodeOutcome(each, 1, turns=1, rewards=(1.0,), spending=spending) for each in "ab"]
    assert figures_of(recorded, rows).spending == Spending(2, 20, 10, 0.02)


class InterruptError(Exception):
    pass


def test_a_run_that_was_interrupted_goes_on_and_ends_in_the_same_result(
    simulated: Manifest, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.played == 5:
            raise InterruptError

    with pytest.raises(InterruptError):
        run_benchmark(simulated, "acts-oracle", tmp_path / "one", on_progress=stop)
    assert not (tmp_path / "one" / RESULT).exists()
    resumed = run_benchmark(simulated, "acts-oracle", tmp_path / "one")
    whole = run_benchmark(simulated, "acts-oracle", tmp_path / "two")
    assert resumed.episodes == whole.episodes
    assert resumed.figures == whole.figures
    with pytest.raises(ResumeMismatchError):
        run_benchmark(simulated, "silent", tmp_path / "one")


def test_a_result_is_read_as_it_was_written_by_each_runner(
    simulated: Manifest, tmp_path: Path
) -> None:
    serial = run_benchmark(simulated, "silent", tmp_path / "a", label="quiet", note="says nothing")
    threads = run_benchmark(simulated, "silent", tmp_path / "b", runner="threads", workers=3)
    assert serial.episodes == threads.episodes
    again = read_result(tmp_path / "a" / RESULT)
    assert again == serial
    assert (again.label, again.note, again.policy.name) == ("quiet", "says nothing", "silent")
    assert again.policy.versions["agent-gym-env"]
    assert (tmp_path / "a" / RESULT).read_bytes().count(b"\n    {") == len(again.episodes)


def test_a_manifest_with_its_least_fields_gives_a_result_that_is_read(
    recorded: Manifest, tmp_path: Path
) -> None:
    least = {
        name: value
        for name, value in msgspec.to_builtins(recorded).items()
        if value and name not in ("version", "format", "trials")
    }
    (tmp_path / "m.json").write_bytes(msgspec.json.encode(least))
    result = run_benchmark(tmp_path / "m.json", "silent", tmp_path / "out")
    assert read_result(tmp_path / "out" / RESULT) == result


class Failing:
    """Policy that fails in the second turn, by its own fault or by that of a file."""

    name = "failing"

    def __init__(self, kind: str = "own") -> None:
        self._kind = kind

    def reset(self, *, seed: int | None = None) -> None:
        self._turns = 0

    def act(self, observation: Observation) -> Action:
        self._turns += 1
        if self._turns > 1:
            raise RuntimeError("oh") if self._kind == "own" else OSError("no file")
        return Action("Hello.")


@pytest.mark.parametrize("kind", ["own", "file"])
def test_dialogues_that_broke_off_count_as_failures(
    simulated: Manifest, recorded: Manifest, tmp_path: Path, kind: str
) -> None:
    policy = {"name": "tests.benchmark.test_result:Failing", "kind": kind}
    result = run_benchmark(simulated, policy, tmp_path / "s")
    assert result.figures.failed == len(result.episodes)
    strict = result.figures.estimates["strict"]
    assert (strict.mean, strict.count, strict.left_out) == (0.0, 12, 0)
    assert "tests.benchmark.test_result" in result.policy.code
    result = run_benchmark(recorded, policy, tmp_path / "r")
    oracle = run_benchmark(recorded, "oracle", tmp_path / "o")
    assert [each.turns for each in result.episodes] == [each.turns for each in oracle.episodes]
    assert [each.due for each in result.episodes] == [each.due for each in oracle.episodes]
    reward = result.figures.estimates["reward"]
    assert reward.count == oracle.figures.estimates["reward"].count
    assert reward.mean is not None
    assert reward.mean < 0.2


def test_keys_are_not_written_down(recorded: Manifest, tmp_path: Path) -> None:
    policy = {"name": "constant", "text": "api_key=sk-abcdefghijklmnopqrstuv"}
    run_benchmark(recorded, policy, tmp_path)
    assert b"sk-abcdef" not in (tmp_path / RESULT).read_bytes()


def test_files_of_a_policy_are_pinned_by_their_content(recorded: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("Yes.")
    policy = {"name": "tests.benchmark.test_result:FromFile", "path": str(file)}
    first = run_benchmark(recorded, policy, tmp_path / "a").policy.files
    file.write_text("No.")
    assert first.keys() == {"path"}
    assert run_benchmark(recorded, policy, tmp_path / "b").policy.files != first


class FromFile:
    """Policy that says the words of a file."""

    name = "from file"

    def __init__(self, path: str) -> None:
        self._text = Path(path).read_text()

    def reset(self, *, seed: int | None = None) -> None:
        """Nothing is to be done."""

    def act(self, observation: Observation) -> Action:
        return Action(self._text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("episodes", "x"),
        ("label", "x" * 201),
        ("hash", 1),
        ("format", 9),
        ("more", 1),
        ("journal_hash", "../../etc"),
        ("policy", {"name": "x", "configuration": json.loads('{"a":' * 200 + "1" + "}" * 200)}),
    ],
)
def test_a_file_that_is_not_a_result_is_refused(
    recorded: Manifest, tmp_path: Path, field: str, value: object
) -> None:
    run_benchmark(recorded, "silent", tmp_path)
    values = msgspec.json.decode((tmp_path / RESULT).read_bytes())
    (tmp_path / "x.json").write_bytes(msgspec.json.encode({**values, field: value}))
    with pytest.raises(DataError, match=r"format is 9|not the result of a benchmark"):
        read_result(tmp_path / "x.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 200_000, b'{"label": NaN}'])
def test_bytes_that_are_not_a_result_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match="not the result of a benchmark"):
        read_result(tmp_path / "x.json")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(DataError, match="has more than 67,108,864 bytes"):
        read_result(tmp_path / "x.json")
