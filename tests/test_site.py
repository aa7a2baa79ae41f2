"""The documentation site builds without a warning, and needs no network to be read."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed: make docs installs it, and builds the site")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    tags = (
        r"<(?:link|script|img|iframe|source|video|audio|object)\b[^>]*(?:src|href|data)=\"(//|http)"
    )
    for page in site.rglob("*.html"):
        assert re.findall(tags, page.read_text("utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?://|http)", sheet.read_text("utf-8")) == [], sheet


def test_the_reference_shows_docstrings_and_help(site: Path) -> None:
    assert "agent_gym_env.evaluation.compare.compare" in (site / "reference/api.html").read_text()
    assert "usage: agent-gym evaluate" in (site / "reference/command_line.html").read_text()
