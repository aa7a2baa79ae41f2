"""The speed of fine-tuning: a line for each precision and number of threads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

import torch

from agent_gym_env.training.config import TinyConfig
from benchmarks.fine_tuning import main
from tests.local_models import write_model


@pytest.mark.usefixtures("datasets_cache")
def test_each_setting_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    model = write_model(tmp_path, TinyConfig(vocabulary=2048, width=32, layers=1, heads=2))
    try:
        assert main(["--model", str(model), "--steps", "1", "--threads", "1"]) == 0
    finally:
        torch.set_num_threads(before)
    lines = capsys.readouterr().out
    found = re.findall(r"^(\w+) +1 threads +(\d+) tokens/s, ", lines, re.MULTILINE)
    assert [kind for kind, _ in found] == ["float32", "bfloat16"]
    assert all(int(speed) > 0 for _, speed in found)
