"""A mistyped folder of a model ends a command before anything slow is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.timing import PROCESS_S

pytest.importorskip("transformers", reason="needs the extra 'train'")
pytest.importorskip("fastapi", reason="needs the extra 'serve'")

POLICY = json.dumps({"name": "transformers", "path": "out/sft/modle"})
COMMANDS = [
    ["evaluate", "--policy", POLICY, "--episodes", "1"],
    ["play", "--policy", POLICY],
    ["rollout", "--policy", POLICY, "--episodes", "1", "--out", "runs"],
    ["serve-policy", "out/sft/modle"],
    *(["train", method, "rows", "--model", "out/sft/modle"] for method in ("sft", "dpo", "grpo")),
]
RUN = """
import json, sys
from agent_gym_env.cli.main import main
codes = [main(command) for command in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted({"torch", "transformers", "trl", "fastapi"} & set(sys.modules))]))
"""


def test_every_command_that_takes_a_model_refuses_a_path_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "out/sft/model").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(COMMANDS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=True,
    )
    codes, imported = json.loads(done.stdout)
    assert codes == [4] * len(COMMANDS)
    assert imported == []
    place = tmp_path / "out/sft"
    said = f"found in {place}: model. Did you mean {place}/model? (file out/sft/modle)"
    assert done.stderr.count(said) == len(COMMANDS)
