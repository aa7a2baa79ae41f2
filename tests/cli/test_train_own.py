"""``agent-gym train`` with a trainer of a user, by its name or by its place in a module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_gym_env import register_trainer, registry
from agent_gym_env.cli.main import main
from tests.training.own_trainer import LENGTHS

PLACE = "tests.training.own_trainer:LENGTHS"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.TRAINERS, "registered", {})
    register_trainer("row-lengths", LENGTHS)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n[1, 2]\n")
    return str(path)


@pytest.mark.parametrize("name", [PLACE, "row-lengths"])
def test_its_settings_are_options(
    name: str, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--scale", "0.5", "--weights", '{"user": 2}', "--out", str(tmp_path / "out")]
    assert main(["train", name, rows, *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": str(tmp_path / "out/model"),
        "mean_length": 2.0,
        "weights": {"user": 2.0},
        "resume": False,
    }


def test_it_is_resumed(rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", PLACE, rows, "--out", str(tmp_path / "out"), "--resume"]) == 0
    assert "resume: True" in capsys.readouterr().out


def test_its_settings_are_read_from_a_file(
    rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.json"
    config.write_text(json.dumps({"rows": [rows], "scale": 2}))
    out = str(tmp_path / "out")
    assert main(["train", PLACE, "--config", str(config), "--out", out]) == 0
    assert "mean length: 8.0" in capsys.readouterr().out


@pytest.mark.parametrize("name", [PLACE, "row-lengths"])
def test_its_help_explains_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", name, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "measure rows" in said
    assert "--scale" in said
    assert "factor of each length" in said


def test_registered_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "row-lengths" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["train", "row-length"])
    assert end.value.code == 2
    assert "did you mean 'row-lengths'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([PLACE, "rows", "--scale", "0"], 2, "expected a number > 0"),
        ([PLACE], 2, "ROWS is required"),
        ([PLACE, "rows", "--skale", "1"], 2, "unknown option --skale (did you mean 'scale'?)"),
        (["tests.training.own_trainer:LENGHTS"], 2, "(did you mean 'LENGTHS'"),
        (["no_such_module:TRAINER"], 2, "there is no module 'no_such_module'"),
        (["tests.training.own_trainer:NUMBER"], 2, "must be an agent_gym_env.training.trainers"),
        (["tests.training.own_trainer:LOST"], 1, "'no_such_module:Config' cannot be imported"),
    ],
)
def test_what_is_wrong_is_explained(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found: object = main(["train", *words])
    except SystemExit as end:
        found = end.code
    assert found == code
    assert said in capsys.readouterr().err
