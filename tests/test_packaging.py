"""Contents and metadata of the installed package."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import agent_gym_env

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"
HEAVY = (
    "torch",
    "litellm",
    "dspy",
    "ray",
    "stable_baselines3",
    "transformers",
    "pyarrow",
    "jinja2",
    "rich",
)


def run_python(code: str, *arguments: str, cwd: Path) -> str:
    """Run code in a fresh interpreter; its output, stripped."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pip(command: str, *arguments: str) -> None:
    """Run pip without network."""
    offline = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *offline, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and source distribution, built as a release is, without network.

    They are built from a copy: nothing that an earlier build left gets in.
    """
    pytest.importorskip("build")
    source = tmp_path_factory.mktemp("source")
    for path in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / path, source)
    for name in ("agent_gym_env", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run_module("build", "--no-isolation", "--outdir", str(source / "dist"), str(source))
    return source / "dist"


def run_module(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    """The wheel of the release."""
    (built,) = distributions.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(target), str(wheel))
    return target


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "agent_gym_env").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    missing = source - set(zipfile.ZipFile(wheel).namelist())
    assert not missing, "name their folders under [tool.setuptools] in pyproject.toml"


def test_the_wheel_holds_the_embedded_corpus(wheel: Path) -> None:
    source = {
        f"agent_gym_env/data/{path.relative_to(SAMPLE.parent).as_posix()}"
        for path in SAMPLE.rglob("*")
        if path.is_file()
    }
    assert source
    assert source <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_nothing_beside_the_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agent_gym_env"}


def test_the_embedded_corpus_is_found_in_an_installed_wheel(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from agent_gym_env.corpus.locations import sample_path\n"
        "print(sample_path())"
    )
    found = Path(run_python(code, str(installed), cwd=tmp_path))
    assert found == installed / "agent_gym_env" / "data" / "sample"
    assert (found / "train" / "schema.json").is_file()


def test_the_embedded_corpus_is_found_in_a_checkout(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from agent_gym_env.corpus.locations import sample_path\n"
        "print(sample_path())"
    )
    assert Path(run_python(code, str(ROOT), cwd=tmp_path)) == SAMPLE


def test_an_installed_wheel_names_the_requirements_of_its_extras(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from agent_gym_env.extras import pip_line\n"
        "print(*map(pip_line, ('local', 'dspy')), sep='\\n')"
    )
    local, dspy = run_python(code, str(installed), cwd=tmp_path).splitlines()
    assert re.fullmatch(r".* -m pip install '?aiohttp[^ ']*'?", local)
    names = [re.split(r"[^\w-]", part)[0] for part in shlex.split(dspy)[4:]]
    assert names == ["litellm", "dspy-ai", "optuna"]


def test_importing_the_package_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import agent_gym_env\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = set(run_python(code, str(ROOT), cwd=tmp_path).split())
    assert "agent_gym_env" in loaded
    assert loaded.isdisjoint(HEAVY)


# What is published


def test_the_metadata_of_a_release_passes_the_strict_check(distributions: Path) -> None:
    pytest.importorskip("twine")
    run_module("twine", "check", "--strict", *map(str, distributions.iterdir()))


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz"])
def test_a_release_passes_the_demo_in_a_fresh_environment(
    distributions: Path, tmp_path: Path, suffix: str
) -> None:
    """Without network: the environment sees the libraries of this one, but not the checkout."""
    (release,) = (path for path in distributions.iterdir() if path.name.endswith(suffix))
    run_module("venv", "--without-pip", str(tmp_path / "venv"))
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    pip("install", "--no-build-isolation", "--target", str(site), str(release))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    script = "import agent_gym_env, sys; from agent_gym_env.cli.main import main; "
    script += "print(agent_gym_env.__file__); sys.exit(main(['demo', '--episodes', '4']))"
    done = subprocess.run(
        [str(python), "-c", script],
        cwd=tmp_path,
        env={**os.environ, "AGENT_GYM_HOME": str(tmp_path / "home"), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert "oracle" in done.stdout


def test_the_versions_agree() -> None:
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == agent_gym_env.__version__
