"""Commands that play ``SGDSim-v0``: audit, verify, play with a person, and the check of goals."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.cli.human import read_line
from agent_gym_env.cli.main import main
from agent_gym_env.types import Action, DialogueAct, ToolCall
from tests.corpora import write_tiny_corpus

Capture = pytest.CaptureFixture[str]
SIMULATED = ["--env", "SGDSim-v0", "--understanding", "acts"]


def _output(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_audit_prints_every_agent_and_no_strict_success(capsys: Capture) -> None:
    assert main(["audit", *SIMULATED, "--episodes", "6", "--json"]) == 0
    audited = _output(capsys)
    assert (audited["split"], audited["dialogues"]) == ("dev", 6)
    strict = {row["name"]: row["strict"]["mean"] for row in audited["rows"]}
    assert strict.pop("acts-oracle") == 1
    assert set(strict.values()) <= {0, None}
    assert len(strict) > 20


def test_audit_shows_a_table_for_the_reward_that_is_named(capsys: Capture) -> None:
    command = ["audit", *SIMULATED, "--episodes", "2", "--reward", "milestones"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "alternatives passed over" in shown
    assert main([*command, "--reward", "task"]) == 2
    assert "one reward" in capsys.readouterr().err


def test_verify_lists_what_the_acts_oracle_does_not_solve(capsys: Capture) -> None:
    assert main(["verify", *SIMULATED, "--split", "dev", "--episodes", "9"]) == 0
    assert "9 of 9 dialogues are a strict success (100.00%)" in capsys.readouterr().out
    impatient = json.dumps({"name": "SGDSim-v0", "patience": 0, "understanding": "acts"})
    assert main(["verify", "--env", impatient, "--split", "dev"]) == 1
    shown = capsys.readouterr().out
    assert "patience_lost" in shown
    assert main(["verify", "--env", impatient, "--split", "dev", "--json"]) == 1
    [found] = _output(capsys)
    assert all(each["reasons"] for each in found["unsolved"])


def test_the_goals_of_the_sample_are_complete_or_listed(capsys: Capture) -> None:
    assert main(["data", "verify", "--goals", "--split", "dev"]) == 0
    shown = capsys.readouterr().out
    assert "dev: 51 of 52 goals are complete" in shown
    assert "0 dialogues answer a situation in two ways" in shown
    assert "argument_of_unknown_source" in shown


def test_goals_that_nobody_annotated_are_listed(tmp_path: Path, capsys: Capture) -> None:
    corpus = str(write_tiny_corpus(tmp_path))
    assert main(["data", "verify", "--goals", "--corpus", corpus, "--json"]) == 0
    found = _output(capsys)
    for split in found:
        assert split["complete"] + len(split["incomplete"]) == split["dialogues"]
        assert split["two_answers"] == 0


def test_play_shows_goal_state_and_what_was_understood(capsys: Capture) -> None:
    assert main(["play", *SIMULATED, "--split", "dev", "--dialogue-id", "1_00000"]) == 0
    shown = capsys.readouterr().out
    for line in ("  goal │ 1. ", " heard │ offer: ", " state │ errand 1 of ", "   end │ strict"):
        assert line in shown
    assert "patience 4" in shown
    assert "progress" in shown


def test_play_records_a_simulated_dialogue(capsys: Capture) -> None:
    assert main(["play", *SIMULATED, "--split", "dev", "--seed", "3", "--json"]) == 0
    assert _output(capsys)["policy"] == "acts-oracle"


def _type(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


_SEARCH = "call Cinema_1-FindFilms genre=documentary cinema_city=Austin"


def test_a_person_plays_a_simulated_dialogue(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _type(
        monkeypatch,
        "tools",
        "call Cinema_1-FindFilms genre",
        _SEARCH,
        'How about this one? | offer film_title "Beneath the Glacier"',
        "Can I do anything else? | REQ_MORE",
    )
    command = ["play", *SIMULATED, "--split", "dev", "--seed", "0", "--policy", "human"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Cinema_1-FindFilms(cinema_city, [genre]): " in shown
    assert "expected SLOT=VALUE, found 'genre'" in shown
    assert " heard │ offer: film_title='Beneath the Glacier'" in shown
    assert "  acts │ SELECT" in shown
    assert " state │ errand 2 of 2" in shown
    assert " heard │ goodbye" in shown  # the end of the input
    assert "   end │ no success" in shown


def test_a_person_plays_a_recorded_dialogue(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _type(monkeypatch, "hello there")
    assert main(["play", "--policy", "human", "--split", "dev"]) == 0
    assert " agent │ hello there" in capsys.readouterr().out
    assert main(["play", "--policy", "human", "--json"]) == 2
    assert "leave out --json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("hello", Action("hello")),
        ("", Action("")),
        ("Done. | notify_success", Action("Done.", acts=(DialogueAct("NOTIFY_SUCCESS"),))),
        (
            'At 6? | CONFIRM time "6 pm" | REQUEST city',
            Action("At 6?", acts=(DialogueAct("CONFIRM", "time", "6 pm"),
                                  DialogueAct("REQUEST", "city"))),
        ),
        ('call X-Y name="Blue Moon" n=2', Action(
            tool_calls=(ToolCall("X-Y", {"name": "Blue Moon", "n": "2"}),)
        )),
    ],
)  # fmt: skip
def test_a_typed_line_becomes_an_action(line: str, action: Action) -> None:
    assert read_line(line) == action


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("call ", "found no tool"),
        ("call X city", "SLOT=VALUE"),
        ("a | OFFER b c d", "ACT SLOT VALUE"),
        ("a | ", "ACT SLOT VALUE"),
        ('a | OFFER b "c', "quotation"),
    ],
)
def test_a_malformed_line_is_refused(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_line(line)
