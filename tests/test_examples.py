import importlib.util
import json
import os
import subprocess
import sys
import warnings
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
    "train_with_trl": ("trl", "llguidance"),
}
"""Modules that an example imports and that may not be installed."""

LIMIT_S = 2000
"""Limit of one example, 20 times what the longest takes on an idle machine."""

WARNS = ("train_with_rllib", "train_with_tianshou", "train_with_trl")
"""Examples whose libraries issue warnings."""


def run(arguments: list[str], cwd: Path, *, warnings: str = "error") -> str:
    environment = {**os.environ, "PYTHONWARNINGS": warnings}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_written(example: Path, tmp_path: Path) -> None:
    for module in NEEDS.get(example.stem, ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    assert run([str(example)], tmp_path, warnings="default" if example.stem in WARNS else "error")
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}, "outputs go below out/"


def test_git_ignores_what_examples_and_pages_write() -> None:
    assert "/out/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 60


# Notebooks

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_written(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    if notebook.stem == "train_and_evaluate":
        pytest.importorskip("sb3_contrib")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client and its kernel, in this process
        content = nbformat.read(notebook, as_version=4)
        nbclient.NotebookClient(
            content,
            timeout=LIMIT_S,
            kernel_name="python3",
            resources={"metadata": {"path": tmp_path}},
        ).execute()
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}, "outputs go below out/"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_stores_no_outputs_that_could_be_out_of_date(notebook: Path) -> None:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code if cell["outputs"]] == []
    assert {cell["execution_count"] for cell in code} == {None}
