"""Output of commands is complete on a narrow terminal; unprintable characters do no harm."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.cli.console import print_json, print_table
from agent_gym_env.cli.main import main
from tests.timing import PROCESS_S

RUN = "import sys; from agent_gym_env.cli.main import main; sys.exit(main())"
FOREIGN = json.dumps({"name": "constant", "text": "“naïve” 日本語 😀"})

COMMANDS: dict[str, list[str]] = {
    "help": ["--help"],
    "help of a command": ["rollout", "--help"],
    "play": ["play", "--policy", FOREIGN],
    "demo": ["demo", "--episodes", "1"],
    "evaluate": ["evaluate", "--episodes", "2", "--policy", "oracle", "--policy", "silent"],
    "evaluate as JSON": ["evaluate", "--episodes", "1", "--policy", FOREIGN, "--json"],
    "rollout": ["rollout", "--episodes", "1", "--policy", "oracle", "--out", "runs"],
    "verify": ["verify", "--split", "dev"],
    "audit": ["audit", "--episodes", "1"],
    "agreement": ["agreement", "--episodes", "1", "--judge", "ground_truth"],
    "data info": ["data", "info"],
}


def run(
    arguments: Sequence[str], folder: Path, stdout: int, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        timeout=PROCESS_S,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_who_has_gone_changes_nothing_but_the_output(name: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(COMMANDS[name], tmp_path, writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_encoding_without_the_characters_gets_others(name: str, tmp_path: Path) -> None:
    done = run(COMMANDS[name], tmp_path, subprocess.PIPE, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode("cp1252")
    if name == "play":
        assert " agent | “naïve” \\u65e5\\u672c\\u8a9e \\U0001f600" in said


def test_files_are_written_though_nobody_reads_the_output(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    wanted = ["evaluate", "--episodes", "1", "--policy", "oracle", "--out", "kept"]
    assert run(wanted, tmp_path, writing).returncode == 0
    os.close(writing)
    assert (tmp_path / "kept/report-balanced.html").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_the_output_is_said(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = run(COMMANDS["evaluate"], tmp_path, full.fileno())
    assert done.returncode == 5
    said = b"agent-gym: cannot write to the standard output: No space left on device\n"
    assert done.stderr == said


def test_json_is_json_in_every_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"text": "é 日 😀 \x81 \u2028"}
    for encoding in ("utf-8", "cp1252", "ascii", "latin-1"):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
        print_json(value)
        sys.stdout.flush()
        assert json.loads(written.getvalue().decode(encoding)) == value


def on_a_terminal(arguments: Sequence[str], columns: int, folder: Path) -> str:
    """Run a command on a real terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {"TERM": "xterm", "COLUMNS": "", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env={**os.environ, **plain},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            block = os.read(ours, 1 << 16)
        except OSError:  # all ends of the terminal are closed
            break
        if not block:
            break
        said += block
    os.close(ours)
    assert process.wait(PROCESS_S) == 0
    return said.decode()


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_policy_reward_and_interval_are_whole_on_a_narrow_terminal(
    columns: int, tmp_path: Path
) -> None:
    chosen = ["--policy", "oracle", "--policy", "best-candidate", "--episodes", "2"]
    said = on_a_terminal(["evaluate", *chosen], columns, tmp_path)
    for whole in ("oracle", "best-candidate", "1.000 to 1.000", "0.579", "0.339 to 0.818"):
        assert whole in said
    assert "…" not in said
    table = re.sub("\x1b[^m]*m", "", said).splitlines()[1:]
    assert max(map(len, table)) <= columns


HEADER = ("policy", "reward", "interval", "exact")
ROWS = [("mine", "0.500", "0.250 to 0.750", "1.000"), ("yours", "0.125", "-", "-")]


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any, **options: Any) -> list[list[str]]:
    """Print a table; the words of its lines, without those that hold lines only."""
    print_table(*arguments, **options)
    lines = [
        line.translate(dict.fromkeys(map(ord, "┃│"), " ")).split()
        for line in capsys.readouterr().out.splitlines()
    ]
    return [words for words in lines if words and words[0][0].isalnum()]


def test_a_table_is_one_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = "x" * 300
    assert printed(capsys, HEADER, [("mine", "0.500", wide, "1.000")]) == [
        [*HEADER],
        ["mine", "0.500", wide, "1.000"],
    ]


def test_columns_without_room_follow_beside_the_first_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cells of 6, 6 and 14 columns take 26 + 3 · 3 + 1 = 36, with one of 5 more 44.
    monkeypatch.setenv("COLUMNS", "43")
    assert printed(capsys, HEADER, ROWS) == [
        ["policy", "reward", "interval"],
        ["mine", "0.500", "0.250", "to", "0.750"],
        ["yours", "0.125", "-"],
        ["policy", "exact"],
        ["mine", "1.000"],
        ["yours", "-"],
    ]
    monkeypatch.setenv("COLUMNS", "44")
    assert len(printed(capsys, HEADER, ROWS)) == 3


def test_all_columns_that_tell_rows_apart_are_repeated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two keys of 6 and 6 columns: with one of 14 they take 36, with one of 5 they take 27.
    monkeypatch.setenv("COLUMNS", "36")
    assert printed(capsys, HEADER, ROWS[:1], keys=2)[2:] == [
        ["policy", "reward", "exact"],
        ["mine", "0.500", "1.000"],
    ]


def test_rows_become_lists_where_not_even_two_columns_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(HEADER, [(f"{'long' * 10}", *ROWS[0][1:])])
    assert capsys.readouterr().out.splitlines() == [
        f"policy: {'long' * 10}",
        "reward: 0.500",
        "interval: 0.250 to 0.750",
        "exact: 1.000",
    ]


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("[red]policy[/]", "\x1b[2J"), [("[bold]", "\x07")], title="[i]t[/i]")
    said = capsys.readouterr().out
    assert all(name in said for name in ("[red]policy[/]", "[bold]", "[i]t[/i]"))
    assert "\x1b[2J" not in said


def test_the_streams_are_back_when_a_command_has_ended() -> None:
    before = sys.stdout, sys.stderr
    main(["data", "info", "--split", "dev"])
    assert (sys.stdout, sys.stderr) == before
