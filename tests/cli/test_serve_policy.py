from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")
pytest.importorskip("llguidance", reason="the extra train is not installed")

from agent_gym_env.cli.main import main
from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request
from tests.local_models import write_model
from tests.timing import PROCESS_S


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


def test_a_checkpoint_is_served_until_it_is_told_to_end(folder: Path) -> None:
    program = "import sys; from agent_gym_env.cli.main import main; sys.exit(main())"
    command = [
        sys.executable, "-c", program, "serve-policy", str(folder), "--port", "0",
        "--name", "mine", "--api-key", "a-long-test-key",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        name, _, url = process.stdout.readline().strip().partition(" at ")
        lm = local_client(name, url, api_key="a-long-test-key")
        answer = lm.complete(Request([{"role": "user", "content": "Hi"}], max_tokens=4))
        process.send_signal(signal.SIGTERM)
        process.wait(PROCESS_S)
    assert name == "mine"
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 4


def test_other_machines_need_a_key(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENT_GYM_API_KEY", raising=False)
    assert main(["serve-policy", str(folder), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "other machines" in capsys.readouterr().err


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve-policy", str(tmp_path)]) == 4
    assert str(tmp_path) in capsys.readouterr().err
