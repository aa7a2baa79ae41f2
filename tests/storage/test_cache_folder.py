"""Data lies where the user says, or in the cache of the user."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_gym_env.corpus.locations import RECORD_NAME, SGD_COMMIT, sgd_folder, sgd_path
from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.storage.cache_folder import home


def test_the_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path))
    assert home() == tmp_path
    assert sgd_folder() == tmp_path / "sgd" / SGD_COMMIT


def test_a_relative_folder_is_made_absolute_and_a_tilde_is_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_GYM_HOME", "data")
    assert home() == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AGENT_GYM_HOME", "~/gym")
    assert home() == tmp_path / "gym"


@pytest.mark.skipif(sys.platform != "linux", reason="the cache lies elsewhere on other systems")
def test_without_the_variable_it_is_the_user_s_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    for configured, expected in (
        ("", tmp_path / ".cache" / "agent-gym"),
        ("relative", tmp_path / ".cache" / "agent-gym"),
        (str(tmp_path / "xdg"), tmp_path / "xdg" / "agent-gym"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", configured)
        assert home() == expected


def test_an_unknown_user_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", "~nobody-of-this-name/gym")
    with pytest.raises(StorageError, match="set AGENT_GYM_HOME"):
        home()


def test_sgd_is_there_only_when_its_download_came_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"not on this machine; run: agent-gym data download"):
        sgd_path()
    sgd_folder().mkdir(parents=True)
    with pytest.raises(DataError, match=r"not finished; run: agent-gym data download"):
        sgd_path()
    (sgd_folder() / RECORD_NAME).write_bytes(b"{}")
    assert sgd_path() == sgd_folder()
