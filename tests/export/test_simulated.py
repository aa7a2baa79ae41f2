"""Exports of simulated episodes: those that work, and those that say why they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import play_episodes
from agent_gym_env.cli.main import main
from agent_gym_env.export.from_episodes import corrections
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_episodes, write_episodes

Capture = pytest.CaptureFixture[str]
SIMULATION: dict[str, Any] = {"env": "SGDSim-v0", "split": "train", "understanding": "acts"}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 6 solved dialogues, scored by strict success, and the same ones in silence."""
    path = tmp_path_factory.mktemp("simulated") / "episodes.jsonl"
    both = [
        episode
        for policy in ("acts-oracle", "silent")
        for episode in play_episodes(policy, episodes=6, reward="task_strict", **SIMULATION)
    ]
    assert len(list(write_episodes(path, both))) == 12
    return path


def export(episodes: Path, out: Path, *options: str) -> int:
    return main(["export", str(episodes), "--out", str(out), *options])


def test_conversations_are_chosen_by_the_sum_of_their_rewards(
    episodes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sft.jsonl"
    assert export(episodes, out, "--format", "sft", "--min-reward", "1") == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["policy"], row["reward"]) for row in rows] == [("acts-oracle", 1.0)] * 6


def test_turns_are_labelled_by_what_the_dialogue_earned_from_them_on(
    episodes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kto.jsonl"
    assert export(episodes, out, "--format", "kto", "--threshold", "0.5") == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {(row["policy"], row["label"]) for row in rows} == {
        ("acts-oracle", True),
        ("silent", False),
    }


def test_states_that_episodes_share_are_compared_by_what_followed(
    episodes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dpo.jsonl"
    assert export(episodes, out, "--format", "dpo") == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["chosen_policy"], row["turn"], row["margin"]) for row in rows] == [
        ("acts-oracle", 0, 1.0)
    ] * 6


def test_corrections_are_what_the_acts_oracle_does_in_the_states_that_others_reach(
    episodes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    assert export(episodes, out, "--format", "sft", "--corrected-below", "1") == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    by_dialogue = {episode.dialogue_id: episode for episode in silent(episodes)}
    assert {row["policy"] for row in rows} == {"silent"}
    assert {row["dialogue_id"] for row in rows} == by_dialogue.keys()
    oracle = play_episodes("acts-oracle", episodes=6, **SIMULATION)
    first = {each.dialogue_id: each.turns[0].steps[0].action for each in oracle}
    for row in rows:
        *before, answer = row["messages"]
        assert all(each.get("weight") == 0 for each in before if each["role"] == "assistant")
        assert "weight" not in answer
        if len(before) == 2:
            action = first[row["dialogue_id"]]
            assert answer["content"] == (action.text or None)
            assert bool(answer.get("tool_calls")) == bool(action.tool_calls)


def silent(episodes: Path) -> list[Episode]:
    return [each for each in read_episodes(episodes) if each.policy == "silent"]


def test_corrections_of_a_rule_agent_that_mishears_have_a_row_a_step(
    tmp_path: Path,
) -> None:
    arguments: dict[str, Any] = {"env": "SGDSim-v0", "split": "dev", "reward": "task_strict"}
    noise = {"acts": 0.2, "values": 0.1}
    played = list(play_episodes("rule", episodes=8, noise=noise, **arguments))
    tally = Tally()
    found = list(corrections(played, tally, below=2.0))
    steps = sum(len(turn.steps) for each in played for turn in each.turns)
    assert len(found) + tally.left_out.get("duplicate", 0) == steps
    assert {row.reward for row in found} == {0.0, 1.0}


def test_an_episode_that_cannot_be_played_again_is_refused(
    episodes: Path, tmp_path: Path, capsys: Capture
) -> None:
    [first, *_] = silent(episodes)
    turns = (msgspec.structs.replace(first.turns[0], user="Something else."), *first.turns[1:])
    other = msgspec.structs.replace(first, turns=turns)
    assert len(list(write_episodes(tmp_path / "other.jsonl", [other]))) == 1
    options = ("--format", "sft", "--corrected-below", "1")
    assert export(tmp_path / "other.jsonl", tmp_path / "rows.jsonl", *options) == 4
    assert "another way than recorded" in capsys.readouterr().err
    assert not (tmp_path / "rows.jsonl").exists()


def test_an_episode_of_another_corpus_is_refused(
    episodes: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = [msgspec.structs.replace(each, corpus="0" * 16) for each in silent(episodes)]
    assert len(list(write_episodes(tmp_path / "other.jsonl", other))) == 6
    options = ("--format", "sft", "--corrected-below", "1")
    assert export(tmp_path / "other.jsonl", tmp_path / "rows.jsonl", *options) == 4
    assert "--corpus" in capsys.readouterr().err


def test_the_beginning_of_each_dialogue_is_a_prompt(episodes: Path, tmp_path: Path) -> None:
    out = tmp_path / "grpo.jsonl"
    assert export(episodes, out, "--format", "grpo") == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len({row["dialogue_id"] for row in rows}) == len(rows) == 6
    for row in rows:
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        start = json.loads(row["state"])
        assert (start["dialogue_id"], start["split"]) == (row["dialogue_id"], "train")
        assert start["user_options"]["understanding"] == "acts"


def test_minari_takes_simulated_episodes(episodes: Path, tmp_path: Path) -> None:
    pytest.importorskip("minari", reason="minari is not installed: extra data")
    import minari

    assert export(episodes, tmp_path / "simulated-v0", "--format", "minari") == 0
    dataset = minari.MinariDataset(tmp_path / "simulated-v0" / "data")
    played = list(dataset.iterate_episodes())
    assert len(played) == 12
    assert sum(each.rewards.sum() for each in played) == 6.0
    assert all(each.terminations[-1] for each in played)
