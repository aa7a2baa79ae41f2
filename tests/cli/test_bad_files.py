"""Commands explain what is wrong with any bad path, and exit with the matching code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent_gym_env.assembly import rollout
from agent_gym_env.cli.exit_codes import ExitCode
from agent_gym_env.cli.main import main
from agent_gym_env.rollout.journal.reading import write_episodes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names what only POSIX has")

RESCORE = ("rescore", "--reward", "ground_truth", "--out", "{out}")
EXPORTS = ("sft", "dpo", "kto", "grpo", "parquet")
COMMANDS = (
    ("report", "--out", "{out}"),
    ("compare", "{whole}"),
    RESCORE,
    *(("export", "--format", name, "--out", "{out}") for name in EXPORTS),
)
"""All that reads episodes; the path of the episodes comes last."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one episode of the sample."""
    path = tmp_path_factory.mktemp("whole") / "episodes.jsonl"
    assert len(list(write_episodes(path, rollout("oracle", episodes=1)))) == 1
    return path


def filled(command: Sequence[str], whole: Path, out: Path) -> list[str]:
    return [word.format(whole=whole, out=out) for word in command]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", ["device", "fifo", "folder", "missing", "zeros", "no steps"])
def test_what_holds_no_episodes_is_refused(
    command: Sequence[str],
    kind: str,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "parquet" in command:
        pytest.importorskip("pyarrow", reason="needs the extra 'data'")
    path = tmp_path / "episodes"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zeros":
        path.write_bytes(bytes(1000))
    elif kind == "no steps":
        path.write_bytes(whole.read_bytes().replace(b'"steps":[', b'"steps":[],"was":[', 1))
    assert main([*filled(command, whole, tmp_path / "out"), str(path)]) == ExitCode.DATA
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("policy", ["sb3", "dspy"])
def test_a_policy_that_is_a_device_is_refused(
    policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip({"sb3": "torch", "dspy": "dspy"}[policy], reason="needs its extra")
    option = {"sb3": "path", "dspy": "program"}[policy]
    config = f'{{"name": "{policy}", "{option}": "/dev/zero"}}'
    assert main(["evaluate", "--policy", config]) == ExitCode.DATA
    assert "is not a regular file (file /dev/zero)" in capsys.readouterr().err


@pytest.mark.parametrize("depth", [40, 900, 200_000])
def test_a_policy_that_nests_too_deeply_is_refused(
    depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = '{"name": "constant", "text": ' + "[" * depth + "]" * depth + "}"
    with pytest.raises(SystemExit, match=str(int(ExitCode.USAGE))):
        main(["evaluate", "--policy", config])
    assert "--policy" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/dev/full", "/dev/null"])
def test_a_device_is_not_replaced_by_a_file(
    place: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", place, str(whole)]) == ExitCode.STORAGE
    assert f"cannot write {place}: it is there and is not a file" in capsys.readouterr().err
    assert not Path(place).is_file()


def run(*command: str, prepare: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    code = f"import sys; {prepare}\nfrom agent_gym_env.cli.main import main; sys.exit(main())"
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code, *command],
        text=True, check=False, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_onto_a_full_disk_fails_and_says_so(more: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = run("data", "info", *more, stdout=full)
    assert done.returncode == ExitCode.STORAGE
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_file_descriptors_are_told(whole: Path, tmp_path: Path) -> None:
    # What is imported later, and the corpus, find no descriptor left.
    prepare = (
        "import resource, agent_gym_env.cli.main; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"
    )
    for command in (["evaluate", "--policy", "oracle"], ["report", str(whole)]):
        done = run(*command, prepare=prepare, stdout=subprocess.DEVNULL, cwd=tmp_path)
        assert done.returncode in (ExitCode.DATA, ExitCode.STORAGE), done.stderr
        assert "Too many open files" in done.stderr
        assert "Traceback" not in done.stderr
