"""A missing library is told with the line that installs it."""

from __future__ import annotations

import json
import re
import shlex
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from agent_gym_env import extras
from agent_gym_env.errors import MissingDependency
from agent_gym_env.extras import (
    pip_line,
    require,
    require_installed,
    require_or_exit,
    requirements,
    tolerate_library_warnings,
)

ROOT = Path(__file__).parents[1]


def test_what_is_installed_is_imported() -> None:
    assert require("json", extra="dev") is json


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.part"])
def test_what_is_missing_is_told_with_the_pip_line(module: str) -> None:
    with pytest.raises(MissingDependency, match=re.escape(pip_line("sb3"))) as caught:
        require(module, extra="sb3")
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == module


def test_what_is_missing_is_told_without_importing_what_is_there() -> None:
    require_installed("json", "xml.dom.minidom", extra="dev")
    for module in ("no_such_library", "no_such_library.part", "json.no_such_part"):
        with pytest.raises(MissingDependency, match=re.escape(pip_line("sb3"))) as caught:
            require_installed("json", module, extra="sb3")
        assert caught.value.name == module


def test_a_script_ends_with_the_pip_line() -> None:
    require_or_exit("json", extra="dev")
    with pytest.raises(SystemExit, match=re.escape(pip_line("sb3"))):
        require_or_exit("no_such_library", extra="sb3")


def test_what_an_installed_library_misses_is_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library") as caught:
        require("half_installed", extra="sb3")
    assert not isinstance(caught.value, MissingDependency)


def test_in_a_checkout_the_pip_line_names_its_folder() -> None:
    pip = [sys.executable, "-m", "pip", "install"]
    assert shlex.split(pip_line("sb3")) == [*pip, "--editable", f"{ROOT}[sb3]"]


def distribution(monkeypatch: pytest.MonkeyPatch, lines: list[str] | None) -> None:
    """Replace the requirements in the metadata of the installed distribution."""
    monkeypatch.setattr(extras, "_ROOT", Path("/no/checkout"))
    monkeypatch.setattr(metadata, "requires", lambda name: lines)


def test_an_installed_package_names_the_requirements_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distribution(monkeypatch, ["numpy<3", 'aiohttp<4,>=3.10; extra == "local"', "a; extra == 'b'"])
    pip = [sys.executable, "-m", "pip", "install"]
    assert shlex.split(pip_line("local")) == [*pip, "aiohttp<4,>=3.10"]
    assert pip_line("local").endswith("'aiohttp<4,>=3.10'")


def test_extras_of_an_extra_are_replaced_by_their_requirements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        'one==1; extra == "a"',
        'two[x]>=2; python_version < "3.11" and extra == "b"',
        'agent-gym-env[a,b]; extra == "c"',
        'one==1; extra == "c"',
        'three; extra == "cc"',
    ]
    distribution(monkeypatch, lines)
    assert requirements("c") == ["one==1", 'two[x]>=2; python_version < "3.11"']


def test_a_package_without_metadata_points_to_a_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "_ROOT", Path("/no/checkout"))
    monkeypatch.setattr(metadata, "requires", unknown)
    assert pip_line("sb3").startswith("pip install '.[sb3]'")


@pytest.fixture
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("error")
        warnings.filterwarnings("ignore", message="not worth a word")
        yield


@pytest.mark.usefixtures("warnings_are_errors")
def test_a_warning_of_a_library_is_shown_and_not_raised() -> None:
    with warnings.catch_warnings(record=True) as shown, tolerate_library_warnings():
        warnings.warn("of a library", stacklevel=1)
        warnings.warn("not worth a word", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["of a library"]
    with pytest.raises(UserWarning, match="afterwards"):
        warnings.warn("afterwards", stacklevel=1)


@pytest.mark.usefixtures("warnings_are_errors")
def test_a_filter_that_names_this_package_still_raises() -> None:
    warnings.filterwarnings("error", module="agent_gym_env")
    with tolerate_library_warnings(), pytest.raises(UserWarning, match="ours"):
        warnings.warn_explicit("ours", UserWarning, "lm.py", 1, module="agent_gym_env.lm")


@pytest.mark.usefixtures("warnings_are_errors")
def test_filters_are_restored_when_the_last_of_several_threads_has_left() -> None:
    before = list(warnings.filters)
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with tolerate_library_warnings():
            first_is_in.set()
            assert second_is_in.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(60)
    with tolerate_library_warnings():
        second_is_in.set()
        thread.join(60)
        assert "error" not in {action for action, *_ in warnings.filters}
    assert list(warnings.filters) == before


@pytest.mark.usefixtures("warnings_are_errors")
def test_a_library_that_warns_while_it_is_imported_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "warns_at_import.py").write_text("import warnings\nwarnings.warn('old')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="old"):
        require("warns_at_import", extra="dev")
