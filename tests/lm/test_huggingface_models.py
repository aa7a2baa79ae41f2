"""A model's name is a folder that is there, or a name on the hub; anything else fails at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.lm.huggingface_models import ModelSource, check_model_path, locate_model

hub: Any = pytest.importorskip("huggingface_hub", reason="needs the extra 'train'")
pytest.importorskip("transformers", reason="needs the extra 'train'")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a run of `train sft` in it."""
    (tmp_path / "out/sft/model").mkdir(parents=True)
    (tmp_path / "out/sft/model/config.json").touch()
    (tmp_path / "out/sft/report.json").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Hub(BaseHTTPRequestHandler):
    """Knows one model, ``org/known``, and is out of order for ``org/broken``."""

    asked: list[str]

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):  # the library makes other requests too
            self.asked.append(self.path)
        name = self.path.removeprefix("/api/models/")
        code = {"org/known": 200, "org/broken": 503}.get(name, 404)
        body = json.dumps({"id": name} if code == 200 else {"error": "Repository not found"})
        self.send_response(code)
        if code == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Be silent."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Serve a hub on this machine; the paths that it was asked for."""
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Hub.asked
    server.shutdown()
    thread.join()
    server.server_close()


def use_hub(monkeypatch: pytest.MonkeyPatch, cache: Path, endpoint: str) -> None:
    # The library reads the environment when it is imported.
    monkeypatch.setattr(hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache / "hub"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out/sft/modle", "Did you mean {}/out/sft/model?"),
        ("out/stf", "found in {}/out: sft. Did you mean {}/out/sft?"),
        ("./sft", "found in {}: out"),
        ("../sft", "no such folder"),
        ("~/no such folder", "no such folder"),
        ("/no/such/folder", "found in /: "),
        ("a/b/c", "found in {}: out"),
        ("model/", "no such folder"),
        ("models\\sft", "no such folder"),
        ("two words", "no such folder"),
        ("", "expected a model in Hugging Face's layout"),
        ("a" * 5000 + "/b/c", "no such folder"),
        (".", "expected a model in Hugging Face's layout, with config.json; found in .: out"),
        ("out/sft", "found in out/sft: model, report.json. Did you mean out/sft/model?"),
        ("out/sft/report.json", "expected a folder with a model, found a file"),
    ],
)
def test_a_path_without_a_model_is_refused_without_asking_the_hub(
    name: str, said: str, folder: Path, asked: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        locate_model(name)
    assert said.replace("{}", str(folder)) in str(caught.value)
    assert not asked


def test_a_path_object_is_never_a_name_on_the_hub(asked: list[str]) -> None:
    with pytest.raises(DataError, match="no such folder"):
        locate_model(Path("org/known"))
    assert not asked


def test_a_folder_with_a_model_is_taken_as_it_is(
    folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locate_model("out/sft/model") == ModelSource("out/sft/model", local_files_only=True)
    monkeypatch.setenv("HOME", str(folder / "out"))
    home = ModelSource(str(folder / "out/sft/model"), local_files_only=True)
    assert locate_model("~/sft/model") == home
    assert not asked


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen2.5-0.5B-Instruct", "org/a_b-c.d"])
def test_a_name_on_the_hub_is_no_path(name: str) -> None:
    assert not check_model_path(name)


def test_the_hub_is_asked_for_a_name(asked: list[str]) -> None:
    assert locate_model("org/known") == ModelSource("org/known", local_files_only=False)
    assert asked == ["/api/models/org/known"]


@pytest.mark.parametrize("name", ["org/unknown", "org/broken", "unknown"])
def test_the_hub_is_asked_once_for_a_name_that_it_does_not_know(
    name: str, asked: list[str]
) -> None:
    with pytest.raises(DataError, match="no such model: no folder has this name") as e:
        locate_model(name)
    assert hub.constants.ENDPOINT in str(e.value)
    assert hub.constants.HF_HUB_CACHE in str(e.value)
    assert asked == [f"/api/models/{name}"]


def test_a_hub_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, tmp_path, "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:1 answered: .*refused"):
        locate_model("org/known")


def test_offline_the_hub_is_not_asked(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="offline mode is enabled"):
        locate_model("org/known")
    assert not asked


def test_a_model_in_the_cache_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, tmp_path, "http://127.0.0.1:1")
    repository = tmp_path / "hub/models--org--known"
    (repository / "snapshots/1").mkdir(parents=True)
    (repository / "snapshots/1/config.json").touch()
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("1")
    assert locate_model("org/known") == ModelSource("org/known", local_files_only=True)
