from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from agent_gym_env.cli.main import main
from tests.evaluation.episode_factory import episodes
from tests.server.browse.recorded_runs import write_run
from tests.timing import PROCESS_S


def test_a_folder_is_shown_until_the_command_is_told_to_end(tmp_path: Path) -> None:
    write_run(tmp_path / "first run", episodes([0.5]))
    program = "import sys; from agent_gym_env.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "view", str(tmp_path), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("AGENT_GYM_API_KEY", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        folder, _, url = process.stdout.readline().strip().rpartition(" at ")
        with urllib.request.urlopen(url, timeout=PROCESS_S) as answer:
            page = answer.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PROCESS_S) == 0
    assert folder == str(tmp_path)
    assert "first run" in page


def test_other_machines_need_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENT_GYM_API_KEY", raising=False)
    assert main(["view", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "other machines" in capsys.readouterr().err


def test_a_folder_that_does_not_exist_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(tmp_path / "none")]) == 4
    assert str(tmp_path / "none") in capsys.readouterr().err
