"""``agent-gym rollout`` collects, goes on, checks, and says what is wrong by its exit code."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import collect
from agent_gym_env.cli import rollout
from agent_gym_env.cli.main import main, parse
from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.storage.files import locked

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def command(tiny_corpus: Path, tmp_path: Path) -> list[str]:
    return ["rollout", "--corpus", str(tiny_corpus), "--out", str(tmp_path / "out")]


def test_a_second_command_has_nothing_left_to_do(command: list[str], capsys: Capture) -> None:
    assert main([*command, "--policy", "oracle", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["jobs"], first["done"], first["played"]) == (3, 3, 3)
    assert main([*command, "--policy", "oracle"]) == 0
    assert "3 of 3 episodes, 3 of them from before" in capsys.readouterr().out


def test_what_reads_episodes_reads_the_folder(
    command: list[str], tmp_path: Path, capsys: Capture
) -> None:
    out = str(tmp_path / "out")
    assert main([*command, "--policy", "oracle"]) == 0
    assert main(["compare", out, out]) == 0
    assert main(["report", out, "--out", str(tmp_path / "page.html")]) == 0
    corpus = command[1:3]
    rescored = str(tmp_path / "rescored.jsonl")
    assert main(["rescore", out, "--reward", "ground_truth", "--out", rescored, *corpus]) == 0


def test_a_report_on_a_folder_shows_the_policys_configuration(
    command: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert main([*command, "--policy", '{"name": "constant", "text": "Sorry?"}']) == 0
    assert main(["report", str(tmp_path / "out"), "--out", str(page)]) == 0
    assert "&#34;text&#34;: &#34;Sorry?&#34;" in page.read_text("utf-8")


def test_branches_are_collected_of_several_policies(command: list[str], capsys: Capture) -> None:
    policies = ["--policy", "oracle", "--policy", "uniform", "--branches", "2"]
    assert main([*command, *policies]) == 0
    assert "3 of 3 dialogues with branches" in capsys.readouterr().out


def test_a_check_says_what_is_there(command: list[str], tmp_path: Path, capsys: Capture) -> None:
    main([*command, "--policy", "oracle"])
    shard = tmp_path / "out" / "episodes-00000.jsonl"
    content = shard.read_bytes()
    assert main([*command, "--check"]) == 0
    assert "3 of 3 episodes; every line is intact" in capsys.readouterr().out
    shard.write_bytes(content.replace(b"Sencha", b"Senchu", 1))
    assert main([*command, "--check"]) == 5
    assert f"{shard}:1: this line is damaged" in capsys.readouterr().err


def test_another_configuration_is_refused(command: list[str], capsys: Capture) -> None:
    main([*command, "--policy", "oracle"])
    assert main([*command, "--policy", "oracle", "--seed", "1"]) == 5
    assert "seed is 0 there and 1 here" in capsys.readouterr().err
    assert main([*command, "--policy", "oracle", "--seed", "1", "--new-run"]) == 0
    assert "out-2: 3 of 3 episodes" in capsys.readouterr().out


def test_a_policy_that_is_none_leaves_the_folder_to_one_that_is(
    command: list[str], capsys: Capture
) -> None:
    assert main([*command, "--policy", "nosuch"]) == 2
    assert "policy must be one of" in capsys.readouterr().err
    assert main([*command, "--policy", "oracle"]) == 0


def test_a_folder_in_use_is_refused(command: list[str], tmp_path: Path, capsys: Capture) -> None:
    with locked(tmp_path / "out" / "journal.lock", wait_s=0):
        assert main([*command, "--policy", "oracle"]) == 5
    assert "another process is at work" in capsys.readouterr().err


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), BudgetExceeded("all is spent")])
def test_a_run_that_was_stopped_has_its_code(
    command: list[str], problem: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        def stop(progress: object) -> None:
            raise problem

        collect(*arguments, **{**options, "on_progress": stop})

    monkeypatch.setattr(rollout, "collect", stopped)
    assert main([*command, "--policy", "oracle"]) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--policy is required"),
        (["--policy", "oracle", "--policy", "silent"], "expected one policy, found 2"),
        (["--policy", "oracle", "--runner", "lockstep"], "plays one dialogue at a time"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    command: list[str], options: list[str], said: str, capsys: Capture
) -> None:
    assert main([*command, *options]) == 2
    assert said in capsys.readouterr().err


def test_check_of_what_is_no_journal_is_a_data_error(command: list[str]) -> None:
    assert main([*command, "--check"]) == 4


def test_nothing_is_sent_to_processes_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["rollout", "--policy", "oracle", "--out", "anywhere"]
    assert parse(wanted)[1].runner == "serial"
    assert signature(collect).parameters["runner"].default == "serial"
    with pytest.raises(SystemExit):
        main(["rollout", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "processes: for policies that compute for 5 ms a turn or more" in said


def test_a_run_with_failures_prints_the_last_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "failing_policy.py").write_text(
        "class Failing:\n"
        "    name = 'failing'\n"
        "    def reset(self, *, seed=None): pass\n"
        "    def act(self, observation): raise RuntimeError('no answer')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main([*command, "--policy", "failing_policy:Failing"]) == 1
    shown = capsys.readouterr()
    assert "0 of 3 episodes, 3 failed" in shown.out
    assert shown.err.startswith("agent-gym: the last failure, dialogue ")
    assert shown.err.endswith(": RuntimeError: no answer\n")
