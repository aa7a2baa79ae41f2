import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.cli.main import main
from agent_gym_env.rollout.journal.reading import read_episodes
from tests.rollout.branch_factory import branch, point

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path) -> Path:
    """Episodes of two policies on the three dialogues of the tiny corpus's train split."""
    out = tmp_path_factory.mktemp("played")
    policies = ["--policy", "oracle", "--policy", "silent"]
    corpus = ["--corpus", str(tiny_corpus), "--split", "train"]
    assert main(["evaluate", *policies, *corpus, "--out", str(out), "--json"]) == 0
    return out


def export(capsys: Capture, *arguments: object) -> dict[str, Any]:
    """Run the command, and give what it prints."""
    capsys.readouterr()
    assert main(["export", *map(str, arguments), "--json"]) == 0
    tally: dict[str, Any] = json.loads(capsys.readouterr().out)
    return tally


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_sft_writes_a_conversation_an_episode(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "sft.jsonl"
    files = [played / "oracle.jsonl", played / "silent.jsonl"]
    tally = export(capsys, *files, "--format", "sft", "--min-reward", "0.9", "--out", out)
    assert tally == {"read": 6, "written": 3, "left_out": {"below min_reward": 3}}
    assert {row["policy"] for row in rows(out)} == {"oracle"}


def test_sft_of_poor_turns_writes_what_the_corpus_did_instead(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "corrections.jsonl"
    files = [played / "oracle.jsonl", played / "silent.jsonl"]
    export(capsys, *files, "--format", "sft", "--corrected-below", "0.9", "--out", out)
    silent = list(read_episodes(played / "silent.jsonl"))
    assert len(rows(out)) == sum(len(episode.turns) for episode in silent)
    assert {row["policy"] for row in rows(out)} == {"silent"}
    said = {turn.target and turn.target.text for episode in silent for turn in episode.turns}
    replies = [row["messages"][-1]["content"] for row in rows(out)]
    assert all(reply is None or reply in said for reply in replies)


def test_dpo_of_episodes_pairs_two_policies(played: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "dpo.jsonl"
    files = [played / "oracle.jsonl", played / "silent.jsonl"]
    export(capsys, *files, "--format", "dpo", "--out", out)
    assert [(row["chosen_policy"], row["rejected_policy"]) for row in rows(out)] == [
        ("oracle", "silent")
    ] * 3


@pytest.mark.parametrize(("kind", "written"), [("dpo", 1), ("kto", 2)])
def test_branch_points_are_taken_as_they_are(
    tmp_path: Path, capsys: Capture, kind: str, written: int
) -> None:
    path = tmp_path / "branches.jsonl"
    path.write_bytes(msgspec.json.encode(point(branch(1.0, "A"), branch(0.0, "B"))) + b"\n")
    tally = export(capsys, path, "--format", kind, "--out", tmp_path / "rows.jsonl")
    assert tally == {"read": 1, "written": written, "left_out": {}}


def test_a_ranking_and_a_margin_choose_the_pairs(tmp_path: Path, capsys: Capture) -> None:
    path, out = tmp_path / "branches.jsonl", tmp_path / "rows.jsonl"
    state = point(branch(None, "A", policy="weak"), branch(None, "B", policy="strong"))
    path.write_bytes(msgspec.json.encode(state) + b"\n")
    export(capsys, path, "--format", "dpo", "--ranking", "strong", "weak", "--out", out)
    assert [row["chosen_policy"] for row in rows(out)] == ["strong"]


def test_kto_with_a_threshold_labels_every_message(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "kto.jsonl"
    arguments = ["--format", "kto", "--threshold", "0.5", "--out", out]
    export(capsys, played / "oracle.jsonl", *arguments)
    # 8 turns, 5 of them with a call before the reply.
    assert {row["label"] for row in rows(out)} == {True}
    assert len(rows(out)) == 13


def test_grpo_writes_a_prompt_a_turn(played: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "grpo.jsonl"
    export(capsys, played / "oracle.jsonl", "--format", "grpo", "--out", out)
    assert [row["turn"] for row in rows(out)] == [0, 1, 2, 3, 0, 1, 0, 1]


def test_rules_of_one_s_own_make_the_system_message(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    rules, out = tmp_path / "rules.txt", tmp_path / "sft.jsonl"
    rules.write_text("Today is {today}.")
    export(capsys, played / "oracle.jsonl", "--format", "sft", "--rules", rules, "--out", out)
    assert rows(out)[0]["messages"][0]["content"] == "Today is Friday, 2019-03-01."


def test_parquet_is_read_like_a_file_of_episodes(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra data")
    table, out, direct = (tmp_path / name for name in ("t.parquet", "sft.jsonl", "direct.jsonl"))
    tally = export(capsys, played / "oracle.jsonl", "--format", "parquet", "--out", table)
    assert tally == {"read": 3, "written": 8, "left_out": {}}
    export(capsys, table, "--format", "sft", "--out", out)
    export(capsys, played / "oracle.jsonl", "--format", "sft", "--out", direct)
    assert out.read_bytes() == direct.read_bytes()


def test_minari_counts_each_episode_once(played: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("minari", reason="minari is not installed: extra data")
    out = tmp_path / "oracle-v0"
    arguments = ["--format", "minari", "--leaves", "user", "--out", out]
    tally = export(capsys, played / "oracle.jsonl", *arguments)
    steps = sum(
        len(turn.steps) for one in read_episodes(played / "oracle.jsonl") for turn in one.turns
    )
    assert tally == {"read": 3, "written": steps, "left_out": {}}
    assert (out / "data").is_dir()


def test_dialogues_of_a_held_out_split_are_refused(
    played: Path, tmp_path: Path, capsys: Capture, tiny_corpus: Path
) -> None:
    # One of train's dialogues is also in dev.
    out = tmp_path / "sft.jsonl"
    command = [played / "oracle.jsonl", "--format", "sft", "--out", out]
    held_out = ["--corpus", tiny_corpus, "--held-out", "dev", "test"]
    assert main(["export", *map(str, [*command, *held_out])]) == 4
    assert "1 of 3 records are of held-out dialogues" in capsys.readouterr().err
    assert not out.exists()
    tally = export(capsys, *command, *held_out, "--drop-held-out")
    assert tally == {"read": 3, "written": 2, "left_out": {"held out": 1}}


def test_without_a_name_of_the_corpus_only_the_sample_is_compared(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    held_out = ["--held-out", "dev", "--format", "sft", "--out", str(tmp_path / "sft.jsonl")]
    assert main(["export", str(played / "oracle.jsonl"), *held_out]) == 2
    assert "is not of the sample corpus: name the corpus" in capsys.readouterr().err
    sample = ["--policy", "oracle", "--episodes", "2", "--out", str(tmp_path / "sample")]
    assert main(["rollout", *sample]) == 0
    assert export(capsys, tmp_path / "sample", *held_out)["written"] == 2


def test_episodes_of_a_held_out_split_are_refused_whatever_their_corpus(
    tiny_corpus: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = ["--out", str(tmp_path / "test")]
    test = ["--corpus", str(tiny_corpus), "--split", "test", "--policy", "oracle"]
    assert main(["rollout", *test, *out]) == 0
    held_out = ["--held-out", "dev", "test", "--corpus", "sample", "--format", "sft"]
    assert main(["export", out[1], *held_out, "--out", str(tmp_path / "sft.jsonl")]) == 4
    assert "are of held-out dialogues" in capsys.readouterr().err


@pytest.mark.parametrize("format_", ["sft", "grpo", "parquet", "minari"])
def test_an_export_of_nothing_fails_and_says_what_was_left_out(
    format_: str, played: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "rows-v0"
    command = ["export", str(played / "silent.jsonl"), "--format", format_, "--min-reward", "1"]
    assert main([*command, "--out", str(out)]) == 1
    assert (
        "nothing was left to write of 3 records; left out, below min_reward: 3"
        in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_pairs_of_the_episodes_of_one_policy_fail_with_the_reason(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ["export", str(played / "oracle.jsonl"), "--format", "dpo"]
    assert main([*command, "--out", str(tmp_path / "dpo.jsonl")]) == 1
    said = capsys.readouterr().err
    assert "left out, the only episode of its dialogue, where a pair needs two: 3" in said


def test_what_was_left_out_is_said(played: Path, tmp_path: Path, capsys: Capture) -> None:
    files = [str(played / "silent.jsonl"), str(played / "oracle.jsonl")]
    command = ["export", *files, "--format", "sft", "--min-reward", "1"]
    assert main([*command, "--out", str(tmp_path / "sft.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "3 rows of 6 records" in said
    assert "below min_reward: 3" in said


def test_a_folder_is_no_file_to_write(played: Path, tmp_path: Path, capsys: Capture) -> None:
    command = ["export", str(played / "oracle.jsonl"), "--format", "sft"]
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert "is a folder: name the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--min-reward", "--corrected-below", "--min-margin", "--threshold"]
)
def test_a_bound_is_a_number(option: str, tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "x.jsonl", "--format", "sft", "--out", str(tmp_path / "x"), option, "nan"])
    assert ended.value.code == 2
    assert f"argument {option}: expected a number, not 'nan'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["no.jsonl", "--format", "sft"], 4, "no.jsonl"),
        (["no.jsonl", "--format", "dpo"], 4, "no.jsonl"),
        (["no.parquet", "--format", "sft"], 4, "no.parquet"),
        (["{episodes}", "--format", "sft", "--rules", "no.txt"], 4, "no.txt"),
        (["{episodes}", "--format", "sft", "--min-margin", "1"], 2, "--min-margin is for"),
        (["{episodes}", "--format", "dpo", "--leaves", "user"], 2, "--leaves is for"),
        (["{episodes}", "--format", "sft", "--drop-held-out"], 2, "--held-out dev test"),
        (
            ["{episodes}", "--format", "sft", "--corrected-below", "1", "--min-reward", "1"],
            2,
            "leave --min-reward away",
        ),
        (
            ["{episodes}", "--format", "kto", "--threshold", "1", "--max-pairs", "1"],
            2,
            "leave --max-pairs away",
        ),
        (["{branches}", "--format", "sft"], 4, "found branch points"),
        (["{branches}", "{episodes}", "--format", "dpo"], 4, "episodes only or branch points only"),
        (["{episodes}", "--format", "sft", "--held-out", "dev", "--corpus", "no"], 4, "no"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_no_file(
    arguments: list[str], code: int, said: str, played: Path, tmp_path: Path, capsys: Capture
) -> None:
    branches = tmp_path / "branches.jsonl"
    branches.write_bytes(msgspec.json.encode(point(branch(1.0))) + b"\n")
    names = {"{episodes}": str(played / "oracle.jsonl"), "{branches}": str(branches)}
    given = [names.get(argument, argument) for argument in arguments]
    out = tmp_path / "out"
    assert main(["export", *given, "--out", str(out)]) == code
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_otel_ends_when_the_episodes_were_written_and_keeps_their_words_to_itself(
    played: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, episodes = tmp_path / "spans.jsonl", played / "oracle.jsonl"
    tally = export(capsys, episodes, "--format", "otel", "--out", out)
    assert tally == {"read": 3, "written": 3, "left_out": {}}
    root = rows(out)[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert int(root["endTimeUnixNano"]) == pytest.approx(episodes.stat().st_mtime_ns, abs=1000)
    words = next(read_episodes(episodes)).turns[0].user
    assert words not in out.read_text()
    export(capsys, episodes, "--format", "otel", "--content", "--out", out)
    assert words in out.read_text()


def test_atif_writes_a_trajectory_an_episode(played: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "trajectories.jsonl"
    export(capsys, played / "oracle.jsonl", "--format", "atif", "--out", out)
    assert [row["agent"]["name"] for row in rows(out)] == ["oracle"] * 3


def test_content_is_for_spans(played: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["--format", "atif", "--content", "--out", str(tmp_path / "a.jsonl")]
    assert main(["export", str(played / "oracle.jsonl"), *arguments]) == 2
    assert "--content is for --format otel, not for atif" in capsys.readouterr().err
