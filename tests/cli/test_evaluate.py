"""An evaluation is kept as it is played; what nothing can be said of fails with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="aiohttp comes with the extra 'local'")

from agent_gym_env.assembly import collect
from agent_gym_env.cli.main import main
from agent_gym_env.rollout.journal.format import read_begun
from agent_gym_env.rollout.journal.reading import read_episodes, read_played
from tests.lm.server import LMServer
from tests.reliability.commands import llm

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server() -> Iterator[LMServer]:
    with LMServer(lambda request: "Nice.") as running:
        yield running


@pytest.fixture
def judge(server: LMServer) -> str:
    """A judge none of whose verdicts can be read."""
    model = {"client": "local", "model": "judge", "api_base": server.openai_base}
    return json.dumps({"name": "llm_judge", "model": model})


def evaluate(out: Path, *arguments: str, policy: str = "oracle") -> int:
    return main(["evaluate", "--policy", policy, "--episodes", "3", "--out", str(out), *arguments])


def test_another_configuration_is_refused_and_nothing_is_touched(
    tmp_path: Path, capsys: Capture
) -> None:
    assert evaluate(tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert evaluate(tmp_path, "--seed", "1") == 5
    assert "seed is 0 there and 1 here" in capsys.readouterr().err
    assert evaluate(tmp_path, "--reward", "ground_truth") == 5
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_second_policy_of_another_configuration_is_refused_before_the_first_is_played(
    tmp_path: Path,
) -> None:
    assert evaluate(tmp_path, policy='{"name": "constant", "text": "Yes."}') == 0
    other = ["--policy", '{"name": "constant", "text": "No."}']
    command = ["evaluate", "--policy", "oracle", *other, "--episodes", "3", "--out", str(tmp_path)]
    assert main(command) == 5
    assert not (tmp_path / "journal" / "oracle").exists()


def test_policies_and_rewards_may_be_added(tmp_path: Path, capsys: Capture) -> None:
    assert evaluate(tmp_path) == 0
    rewards = ["--reward", "balanced", "--reward", "ground_truth"]
    more = ["--policy", "silent", *rewards, "--batch", "2"]
    assert evaluate(tmp_path, *more) == 0
    assert "oracle: 3 of 3 episodes were there already" in capsys.readouterr().err
    assert (tmp_path / "report-ground_truth.html").exists()


def test_an_evaluation_of_fewer_dialogues_than_asked_for_plays_each_once(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    where = ["--corpus", str(tiny_corpus), "--split", "train"]
    assert evaluate(tmp_path, *where, "--episodes", "9") == 0
    assert len(list(read_episodes(tmp_path / "oracle.jsonl"))) == 3


def test_a_rollout_of_the_same_configuration_goes_on_with_the_journal(tmp_path: Path) -> None:
    assert evaluate(tmp_path) == 0
    result = collect(
        "oracle", tmp_path / "journal" / "oracle", episodes=3, corpus="sample", split="dev",
        reward={"name": "balanced"}, services=None, seen="all", schema_variant=None,
        tools_offered="dialogue", max_episode_steps=None,
    )  # fmt: skip
    assert result.played == 0


def test_episodes_without_a_journal_are_not_overwritten(tmp_path: Path, capsys: Capture) -> None:
    kept = tmp_path / "oracle.jsonl"
    kept.write_text("of an earlier version\n")
    assert evaluate(tmp_path) == 5
    assert "exists without a journal in" in capsys.readouterr().err
    assert kept.read_text() == "of an earlier version\n"


def test_failed_episodes_are_kept_in_their_place_and_played_again_when_asked(
    server: LMServer, tmp_path: Path, capsys: Capture
) -> None:
    server.plan("404")
    assert evaluate(tmp_path, policy=llm(server)) == 1
    assert [bool(each.error) for each in read_episodes(tmp_path / "llm.jsonl")] == [
        True, False, False
    ]  # fmt: skip
    assert evaluate(tmp_path, policy=llm(server)) == 1
    assert evaluate(tmp_path, "--retry-failed", policy=llm(server)) == 0
    assert [each.error for each in read_played(tmp_path / "journal" / "llm")] == [None] * 3


def test_a_folder_of_an_evaluation_names_its_files(tmp_path: Path, capsys: Capture) -> None:
    assert evaluate(tmp_path) == 0
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 4
    assert "Name one of its files: oracle.jsonl" in capsys.readouterr().err
    journal = str(tmp_path / "journal" / "oracle")
    assert main(["compare", journal, str(tmp_path / "oracle.jsonl")]) == 0


def test_a_reward_that_scores_nothing_fails_with_the_first_reason(
    judge: str, tmp_path: Path, capsys: Capture
) -> None:
    assert evaluate(tmp_path, "--reward", judge) == 1
    said = capsys.readouterr().err
    assert "llm_judge could score none of" in said
    assert "the judge gave no verdict" in said


def test_a_second_reward_that_scores_nothing_fails_too(
    judge: str, tmp_path: Path, capsys: Capture
) -> None:
    assert evaluate(tmp_path, "--reward", "balanced", "--reward", judge) == 1
    shown = capsys.readouterr()
    assert "reward 'balanced'" in shown.out
    assert "oracle: llm_judge could score none of" in shown.err


def test_a_rescoring_of_nothing_fails_and_leaves_no_file(
    judge: str, tmp_path: Path, capsys: Capture
) -> None:
    assert evaluate(tmp_path) == 0
    out = tmp_path / "rescored.jsonl"
    command = ["rescore", str(tmp_path / "oracle.jsonl"), "--reward", judge, "--out", str(out)]
    assert main(command) == 1
    assert "llm_judge could score none of" in capsys.readouterr().err
    assert not out.exists()


def test_a_verdict_that_could_not_be_read_is_asked_for_again_the_next_time(
    judge: str, server: LMServer, tmp_path: Path
) -> None:
    assert evaluate(tmp_path) == 0
    command = ["rescore", str(tmp_path / "oracle.jsonl"), "--reward", judge]
    for number in (1, 2):
        server.exchanges.clear()
        assert main([*command, "--out", str(tmp_path / f"{number}.jsonl")]) == 1
        assert server.exchanges


@pytest.mark.parametrize("command", ["agreement", "audit"])
def test_a_judge_that_scores_nothing_ends_an_examination(
    command: str, judge: str, capsys: Capture
) -> None:
    option = "--judge" if command == "agreement" else "--reward"
    assert main([command, option, judge, "--episodes", "1"]) == 1
    assert "llm_judge could score none of" in capsys.readouterr().err


def test_a_comparison_of_what_has_no_reward_fails(
    judge: str, tmp_path: Path, capsys: Capture
) -> None:
    assert evaluate(tmp_path, "--reward", judge) == 1
    unscored = str(tmp_path / "oracle.jsonl")
    capsys.readouterr()
    assert main(["compare", unscored, unscored]) == 1
    assert "llm_judge could score none of" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "report", "rescore"])
def test_a_file_without_episodes_is_a_data_error(
    command: str, tmp_path: Path, capsys: Capture
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    more = {
        "compare": [str(empty)],
        "report": ["--out", str(tmp_path / "page.html")],
        "rescore": ["--reward", "balanced", "--out", str(tmp_path / "rescored.jsonl")],
    }
    assert main([command, str(empty), *more[command]]) == 4
    assert "expected episodes, found none" in capsys.readouterr().err


def test_a_journal_names_the_environment_that_was_asked_for(tmp_path: Path) -> None:
    log = Path(__file__).parents[2] / "examples/logs/chat.jsonl"
    words = ["evaluate", "--policy", "oracle", "--env", "Traces-v0", "--corpus", str(log)]
    assert main([*words, "--split", "train", "--out", str(tmp_path / "out")]) == 0
    begun = read_begun(tmp_path / "out/journal/oracle")
    assert begun is not None
    assert begun.config["world"]["env"] == "Traces-v0"
