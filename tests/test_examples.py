import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

NEEDS = {
    "distil_into_a_small_model": ("trl", "llguidance"),
    "minari_dataset": ("minari", "h5py"),
    "ppo_in_one_file": ("torch",),
    "train_with_rllib": ("ray", "tree"),  # RLlib comes with ray; what it needs does not
    "train_with_sb3": ("sb3_contrib",),
    "train_with_tianshou": ("tianshou",),
}
"""What an example imports that the tests may have to do without."""

WARNS = ("train_with_rllib", "train_with_tianshou")
"""Their libraries warn of themselves."""


def run(arguments: list[str], cwd: Path, *, warnings: str = "error") -> str:
    environment = {**os.environ, "PYTHONWARNINGS": warnings}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_written(example: Path, tmp_path: Path) -> None:
    for module in NEEDS.get(example.stem, ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    assert run([str(example)], tmp_path, warnings="default" if example.stem in WARNS else "error")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 60


@pytest.mark.parametrize("page", ["README.md", "docs/testing.md"])
def test_the_code_of_a_page_runs_as_written(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        run(["-c", block], tmp_path)
