import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.cli.main import main
from tests.corpora import write_tiny_corpus


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes and reports of two policies on ten dialogues of the sample corpus."""
    out = tmp_path_factory.mktemp("evaluated")
    policies = ["--policy", "oracle", "--policy", "constant"]
    assert main(["evaluate", *policies, "--episodes", "10", "--out", str(out), "--json"]) == 0
    return out


def output(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_evaluate_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    rewards = ["--reward", "balanced", "--reward", "ground_truth"]
    command = ["evaluate", "--policy", "silent", "--episodes", "5", "--json", *rewards]
    assert main(command) == 0
    evaluations = output(capsys)["evaluations"]
    assert [each["setting"]["reward"] for each in evaluations] == ["balanced", "ground_truth"]
    assert evaluations[0]["reward"]["mean"] == 0.0


def test_evaluate_says_it_for_each_domain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--policy", "oracle", "--episodes", "10", "--domains"]) == 0
    assert "domain" in capsys.readouterr().out


def test_evaluate_keeps_episodes_and_writes_a_report(evaluated: Path) -> None:
    names = sorted(path.name for path in evaluated.iterdir())
    assert names == ["constant.jsonl", "journal", "oracle.jsonl", "report-balanced.html"]


def test_one_policy_with_two_options_keeps_both_files(tmp_path: Path) -> None:
    other = '{"name": "constant", "text": "Goodbye."}'
    command = ["evaluate", "--policy", "constant", "--policy", other, "--episodes", "2"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "constant.jsonl").exists()
    second = json.loads((tmp_path / "constant-2.jsonl").read_text().splitlines()[0])
    assert second["policy"] == "constant-2"


def test_a_numbered_policy_keeps_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    named = '{"name": "constant", "text": ""}'
    command = ["evaluate", "--policy", "constant", "--policy", named, "--episodes", "2", "--json"]
    assert main(command) == 0
    names = [each["policy"] for each in output(capsys)["evaluations"]]
    assert names == ["constant", "silent-2"]


def test_the_json_of_two_policies_compares_them(capsys: pytest.CaptureFixture[str]) -> None:
    policies = ["--policy", "oracle", "--policy", "silent"]
    assert main(["evaluate", *policies, "--episodes", "6", "--json"]) == 0
    (comparison,) = output(capsys)["comparisons"]
    assert (comparison["first"], comparison["second"]) == ("oracle", "silent")


def test_a_name_from_a_file_cannot_steer_the_terminal(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = tmp_path / "hostile.jsonl"
    name = json.dumps("\x1b[31mred\x1b[0m [bold]")
    text = (evaluated / "constant.jsonl").read_text()
    hostile.write_text(text.replace('"policy":"constant"', f'"policy":{name}'))
    assert main(["compare", str(evaluated / "oracle.jsonl"), str(hostile)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]" in shown


@pytest.mark.parametrize("option", [["--seed", "-1"], ["--seed", "x"]])
def test_a_number_that_is_none_is_a_usage_error(option: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["play", *option])


def test_compare_says_which_is_better(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(evaluated / "oracle.jsonl"), str(evaluated / "constant.jsonl")]
    assert main(["compare", *files, "--json"]) == 0
    assert output(capsys)["reward"]["verdict"] == "better"
    assert main(["compare", *files]) == 0
    assert "better" in capsys.readouterr().out


def test_rescore_scores_without_playing(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rescored.jsonl"
    recorded = str(evaluated / "oracle.jsonl")
    command = ["rescore", recorded, "--reward", "ground_truth", "--out", str(out), "--json"]
    assert main(command) == 0
    assert output(capsys)["reward"]["mean"] == 1.0
    assert len(out.read_text().splitlines()) == 10


def test_rescore_does_not_overwrite_what_it_reads(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = evaluated / "journal" / "oracle"
    (shard,) = journal.glob("*.jsonl")
    same = evaluated / "journal" / ".." / "oracle.jsonl"
    for source, out in ((evaluated / "oracle.jsonl", same), (journal, shard)):
        before = out.read_bytes()
        command = ["rescore", str(source), "--reward", "ground_truth", "--out", str(out)]
        assert main(command) == 2
        assert "would overwrite what is read: name another file" in capsys.readouterr().err
        assert out.read_bytes() == before


def test_report_writes_one_page_about_several_files(evaluated: Path, tmp_path: Path) -> None:
    files = [str(evaluated / "oracle.jsonl"), str(evaluated / "constant.jsonl")]
    assert main(["report", *files, "--out", str(tmp_path / "page.html")]) == 0
    assert "constant" in (tmp_path / "page.html").read_text()


def test_play_shows_the_conversation_and_each_reward(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    assert "user │" in shown
    assert "response_similarity" in shown


def test_verify_is_clean_on_the_sample_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--split", "dev"]) == 0
    assert "0 turns below 1.0" in capsys.readouterr().out


def test_audit_puts_the_oracle_above_every_way_to_game(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--episodes", "10", "--reward", "balanced", "--json"]) == 0
    rows = output(capsys)["rows"]
    means = {row["name"]: row["scores"]["balanced"]["reward"]["mean"] for row in rows}
    assert means.pop("oracle") == 1.0
    assert max(means.values()) < 1.0


def test_data_info_counts_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = str(write_tiny_corpus(tmp_path))
    assert main(["data", "build", "--corpus", corpus, "--split", "train", "--json"]) == 0
    (built,) = output(capsys)
    assert (built["dialogues"], built["turns"]) == (3, 8)
    assert main(["data", "info", "--corpus", corpus, "--split", "train"]) == 0
    assert main(["data", "verify", "--corpus", corpus, "--split", "train"]) == 0


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["play", "--corpus", "nowhere"], 4, "nowhere"),
        (["data", "info", "--corpus", "sgd"], 4, "agent-gym data download"),
        (["play", "--dialogue-id", "9_99999"], 4, "9_99999"),
        (["play", "--services", "NoSuch_1"], 2, "NoSuch_1"),
        (["evaluate", "--policy", "nobody"], 2, "nobody"),
        (["evaluate", "--policy", '{"name": "constant", "words": 3}'], 2, "words"),
        (["play", "--reward", "generous"], 2, "generous"),
        (["play", "--reward", '{"name": "balanced", "x": 1}'], 2, "x"),
        (["compare", "no.jsonl", "such.jsonl"], 4, "no.jsonl"),
    ],
)
def test_what_is_wrong_is_said_and_has_its_exit_code(
    command: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == code
    assert said in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["dance"])
    assert "dance" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("called", "shown"),
    [(".venv/bin/agent-gym", ".venv/bin/agent-gym"), ("/x/cli/main.py", "agent-gym")],
)
def test_the_demo_ends_with_a_command_that_can_be_typed(
    called: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "demo"])
    assert main(["demo", "--episodes", "1", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "verdict: a strict success; reward 'task': 0.9" in said
    assert f"next: {shown} play --help" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["evalute"], "(did you mean 'evaluate'?)"),
        (["data", "dowload"], "(did you mean 'download'?)"),
        (["evaluate", "--polcy", "oracle"], "unknown option --polcy (did you mean 'policy'?)"),
        (["evaluate", "--polcy=oracle"], "unknown option --polcy (did you mean 'policy'?)"),
        (["rollout", "--policy", "oracle", "--runner", "proceses"], "(did you mean 'processes'?)"),
        (["play", "--split", "tarin"], "(did you mean 'train'?)"),
        (["export", "x", "--format", "stf"], "(did you mean 'sft'?)"),
    ],
)
def test_what_is_mistyped_is_answered_with_what_was_probably_meant(
    capsys: pytest.CaptureFixture[str], command: list[str], said: str, tmp_path: Path
) -> None:
    needs_out = ("rollout", "export")
    try:
        code: object = main(
            [*command, *(["--out", str(tmp_path / "out")] * (command[0] in needs_out))]
        )
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_an_option_may_still_be_shortened_and_begin_with_dashes_after_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", "--pol", "silent", "--episodes=1", "--json"]) == 0
    assert output(capsys)["evaluations"]
    assert main(["export", "--format", "sft", "--out", "x", "--", "--nope"]) == 4


@pytest.mark.parametrize("command", [["evaluate", "--policy", "oracle"], ["data", "info"]])
def test_a_corpus_that_is_not_there_is_answered_with_the_known_ones(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "--corpus", "smaple"]) == 4
    said = capsys.readouterr().err
    assert "no such folder or archive (did you mean 'sample'?); a corpus is 'sample', 'sgd'" in said
