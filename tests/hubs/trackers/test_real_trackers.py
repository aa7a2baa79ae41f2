"""Weights & Biases, MLflow and trackio keep what they are sent, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb", reason="wandb is not installed: make test-hub-trackers")
pytest.importorskip("mlflow", reason="mlflow is not installed: make test-hub-trackers")
pytest.importorskip("trackio", reason="trackio is not installed: make test-hub-trackers")

import wandb

from agent_gym_env.extras import tolerate_library_warnings
from agent_gym_env.training.trackers import open_trackers

SETTINGS = {"seed": 7, "shape": {"hidden": 64}, "api_key": "sk-1234567890abcdefgh"}


def send(config: dict[str, Any], out: Path) -> None:
    """Send two steps as a run does."""
    with (
        tolerate_library_warnings(),
        open_trackers([config], out=out / "ppo", settings=SETTINGS) as tracker,
    ):
        tracker.log(64, {"loss": 0.5, "policy/reward": 0.25})
        tracker.log(128, {"loss": 0.125})


def test_wandb_keeps_a_run_for_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    send({"name": "wandb", "mode": "offline"}, tmp_path)
    assert not [record for record in caplog.records if record.name.startswith("agent_gym_env")]
    (kept,) = (tmp_path / "ppo").glob("wandb/offline-run-*/*.wandb")
    content = kept.read_bytes()
    for text in (b"policy/reward", b"hidden", b"ppo"):
        assert text in content
    assert b"sk-1234567890" not in content
    assert wandb.run is None


def test_wandb_without_a_key_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    send({"name": "wandb", "mode": "online"}, tmp_path)
    (record,) = [each for each in caplog.records if each.name.startswith("agent_gym_env")]
    assert "the tracker wandb failed" in record.getMessage()


def test_mlflow_keeps_steps_and_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from mlflow import MlflowClient

    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    send({"name": "mlflow", "tracking_uri": address, "experiment": "e"}, tmp_path)
    assert not [record for record in caplog.records if record.name.startswith("agent_gym_env")]
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("e")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("ppo", "FINISHED")
    assert run.data.params == {"seed": "7", "shape.hidden": "64", "api_key": "[redacted]"}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(64, 0.5), (128, 0.125)]


def test_trackio_keeps_steps_and_prints_nothing_on_the_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    send({"name": "trackio", "project": "p"}, tmp_path)
    assert capfd.readouterr().out == ""
    assert SQLiteStorage.get_runs("p") == ["ppo"]
    logs = SQLiteStorage.get_logs("p", "ppo")
    assert [(each["step"], each["loss"]) for each in logs] == [(64, 0.5), (128, 0.125)]


@pytest.mark.parametrize("address", ["sqlite:///{}/a file/mlflow.db", "http://127.0.0.1:9"])
def test_a_tracker_that_cannot_be_opened_is_a_warning(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "a file").touch()
    send({"name": "mlflow", "tracking_uri": address.format(tmp_path)}, tmp_path)
    (record,) = [each for each in caplog.records if each.name.startswith("agent_gym_env")]
    assert "the tracker mlflow failed" in record.getMessage()
