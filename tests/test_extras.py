"""A missing library is told with the line that installs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_gym_env.errors import MissingDependency
from agent_gym_env.extras import require


def test_what_is_installed_is_imported() -> None:
    assert require("json", extra="dev") is json


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.part"])
def test_what_is_missing_is_told_with_the_pip_line(module: str) -> None:
    with pytest.raises(MissingDependency, match=r"pip install 'agent-gym-env\[sb3\]'") as caught:
        require(module, extra="sb3")
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == module


def test_what_an_installed_library_misses_is_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library") as caught:
        require("half_installed", extra="sb3")
    assert not isinstance(caught.value, MissingDependency)
