"""A checkpoint is data: whatever is done to it, it is read or refused, and nothing runs."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from agent_gym_env.errors import DataError
from agent_gym_env.storage.array_file import Arrays
from agent_gym_env.training.ppo import train_ppo
from tests.policies.test_sb3_model import Trap
from tests.training.small_run import small

CONFIG = small(total_timesteps=64, cloning={"dialogues": 0}, evaluation={"dialogues": 1})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a checkpoint at the end of a run."""
    out = tmp_path_factory.mktemp("run")
    train_ppo(CONFIG, out=out)
    return (out / "checkpoint.npz").read_bytes()


def test_a_run_that_had_ended_stays_as_it_was(checkpoint: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(checkpoint)
    told: list[object] = []
    train_ppo(CONFIG, out=tmp_path, resume=True, on_progress=lambda *done: told.append(done))
    assert told == []


def test_pickled_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "checkpoint.npz"
    np.savez(path, np.array([Trap(sprung)], object))
    for content in (path.read_bytes(), pickle.dumps(Trap(sprung))):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a checkpoint"):
            train_ppo(CONFIG, out=tmp_path, resume=True)
    assert not sprung.exists()


def noted(header: dict[str, Any]) -> None:
    header["notes"] = 3


def with_tries(header: dict[str, Any]) -> None:
    header["environments"][0]["left"] = "x"


def without_environments(header: dict[str, Any]) -> None:
    header["environments"] = []


@pytest.mark.parametrize("change", [noted, with_tries, without_environments])
def test_a_header_that_does_not_fit_is_told(
    checkpoint: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    arrays = unpacked(checkpoint)
    header = json.loads(arrays["header.json"].tobytes())
    change(header)
    arrays["header.json"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    refused(arrays, tmp_path)


@pytest.mark.parametrize("name", ["returns", "episode_starts", "optimizer/0/exp_avg"])
def test_arrays_of_another_shape_are_told(checkpoint: bytes, tmp_path: Path, name: str) -> None:
    refused({**unpacked(checkpoint), name: np.zeros(7, np.float32)}, tmp_path)


def unpacked(checkpoint: bytes) -> Arrays:
    with np.load(io.BytesIO(checkpoint)) as file:
        return {name: file[name] for name in file.files}


def refused(arrays: Arrays, out: Path) -> None:
    np.savez(out / "checkpoint.npz", allow_pickle=False, **arrays)
    with pytest.raises(DataError, match=r"the checkpoint does not fit: .*checkpoint\.npz"):
        train_ppo(CONFIG, out=out, resume=True)


def test_any_damage_is_told(checkpoint: bytes, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for _ in range(8):
        damaged = bytearray(checkpoint)
        for place in random.integers(len(damaged), size=20).tolist():
            damaged[place] ^= 0xFF
        (tmp_path / "checkpoint.npz").write_bytes(damaged)
        with pytest.raises(DataError):
            train_ppo(CONFIG, out=tmp_path, resume=True)
