"""A run repeats, goes on after a stop as if there had been none, and learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.errors import AgentGymError, DataError, ResumeMismatchError, StorageError
from agent_gym_env.policies.sb3_model import SB3Policy
from agent_gym_env.training.candidate_envs import CandidateEnvsConfig
from agent_gym_env.training.curve import CurvePoint, read_curve
from agent_gym_env.training.ppo import train_ppo
from agent_gym_env.training.ppo_config import PPOConfig
from agent_gym_env.training.ppo_run import as_written
from tests.training.small_run import StoppedError, small, stop_after


def weights(policy: SB3Policy) -> list[float]:
    """All weights of a policy."""
    tensors = policy.network.state_dict().values()
    return [float(weight) for tensor in tensors for weight in tensor.numpy().ravel()]


@pytest.mark.parametrize("masked", [True, False])
def test_the_same_configuration_gives_the_same_policy(masked: bool) -> None:
    config = small(masked=masked, total_timesteps=128)
    first = weights(train_ppo(config))
    assert weights(train_ppo(config)) == first
    assert weights(train_ppo(small(masked=masked, total_timesteps=128, seed=1))) != first


@pytest.mark.parametrize("tries", [2, None])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path, tries: int | None) -> None:
    config = small(tries=tries)
    whole = train_ppo(config, out=tmp_path / "whole")
    with pytest.raises(StoppedError):
        train_ppo(config, out=tmp_path / "stopped", on_progress=stop_after(192))
    resumed = train_ppo(config, out=tmp_path / "stopped", resume=True)
    assert weights(resumed) == weights(whole)
    curves = [read_curve(tmp_path / name / "curve.jsonl") for name in ("whole", "stopped")]
    assert [point.reward for point in curves[0]] == [point.reward for point in curves[1]]
    assert [point.steps for point in curves[1]] == [0, 0, 128, 256]


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train_ppo(small(total_timesteps=64), out=tmp_path)
    with pytest.raises(ResumeMismatchError, match="made with other settings"):
        train_ppo(small(total_timesteps=64, gamma=0.5), out=tmp_path, resume=True)
    with pytest.raises(DataError, match="does not fit"):
        train_ppo(small(total_timesteps=64, shape={"hidden": 8}), out=tmp_path, resume=True)


def test_a_run_is_not_overwritten_by_the_next(tmp_path: Path) -> None:
    train_ppo(small(total_timesteps=64), out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StorageError, match="holds a run already: resume it, or name another"):
        train_ppo(small(total_timesteps=64, gamma=0.5), out=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_is_said_before_anything_is_learned(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        train_ppo(small(world={"training_dialogues": 9.0}), out=tmp_path / "file/out")


def test_a_last_batch_of_one_step_is_left_out() -> None:
    config = small(n_envs=5, n_steps=13, batch_size=64, n_epochs=1, total_timesteps=65)
    assert np.isfinite(weights(train_ppo(config))).all()


def test_weights_that_are_no_numbers_end_the_run(tmp_path: Path) -> None:
    config = small(total_timesteps=64, ent_coef=1e39, cloning={"dialogues": 0})
    with pytest.raises(AgentGymError, match="weights contain NaN or infinity after 64 steps"):
        train_ppo(config, out=tmp_path)
    assert not (tmp_path / "policy.npz").exists()
    assert not (tmp_path / "checkpoint.npz").exists()


def test_an_unmasked_run_gives_an_unmasked_policy() -> None:
    config = small(masked=False, total_timesteps=0, evaluation={"dialogues": 1})
    assert not train_ppo(config).masked


def test_a_run_is_resumed_from_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a folder"):
        train_ppo(small(), resume=True)


def test_a_run_without_a_checkpoint_begins_when_it_is_resumed(tmp_path: Path) -> None:
    config = small(total_timesteps=0, evaluation={"dialogues": 1})
    train_ppo(config, out=tmp_path / "resumed", resume=True)
    train_ppo(config, out=tmp_path / "begun")
    assert (tmp_path / "resumed/cloned.npz").read_bytes() == (
        tmp_path / "begun/cloned.npz"
    ).read_bytes()


def test_the_folder_holds_policies_and_the_curve(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    train_ppo(small(total_timesteps=128), out=tmp_path, tensorboard=True, on_point=points.append)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json", "initial.npz", "cloned.npz", "policy.npz", "curve.jsonl", "checkpoint.npz",
        "tensorboard",
    }  # fmt: skip
    written = (tmp_path / "config.json").read_bytes()
    assert msgspec.json.decode(written, type=PPOConfig) == small(total_timesteps=128)
    assert [point.stage for point in points] == ["initial", "cloned", "policy"]
    assert read_curve(tmp_path / "curve.jsonl") == points
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_saved_policy_plays_by_name(tmp_path: Path) -> None:
    trained = train_ppo(small(total_timesteps=0), out=tmp_path)
    env = make_env(split="dev")
    played = make_policy({"name": "sb3", "path": str(tmp_path / "cloned.npz")}, env)
    observation, _ = env.reset(seed=0)
    assert played.act(observation) == trained.act(observation)
    assert isinstance(played, SB3Policy)
    assert played.candidates == {"training_dialogues": 90, "indexed": 70}


def test_progress_is_told_of_each_long_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path))  # nothing is learned yet
    told: list[tuple[str, int, int]] = []
    config = small(total_timesteps=100, cloning={"dialogues": 2, "epochs": 1})
    train_ppo(config, on_progress=lambda *done: told.append(done))
    # The candidates: the words of 90 + 70 dialogues, then 90 to train on, then 70 to index.
    learned = [("candidates", done, 320) for done in range(1, 321)]
    cloned = [("cloning", 1, 2), ("cloning", 2, 2)]
    assert told == [*learned, *cloned, ("ppo", 64, 100), ("ppo", 100, 100)]


def test_it_learns_to_choose_on_the_sample_corpus() -> None:
    points: list[CurvePoint] = []
    config = small(
        shape={"k": 8},
        cloning={"dialogues": 0},
        evaluation={"dialogues": 52, "every": 4096},
        tries=4,
        total_timesteps=4096,
        n_steps=128,
        n_epochs=10,
        learning_rate=1e-3,
        batch_size=64,
    )
    train_ppo(config, on_point=points.append)
    first, last = points[0].reward, points[-1].reward
    assert first.high is not None
    assert last.low is not None
    assert last.low > first.high


def test_cloning_alone_beats_the_first_policy() -> None:
    points: list[CurvePoint] = []
    config = small(
        shape={"k": 8},
        cloning={"dialogues": 40, "epochs": 10},
        evaluation={"dialogues": 52, "every": 1},
        total_timesteps=0,
    )
    train_ppo(config, on_point=points.append)
    first, cloned = (point.reward.mean for point in points)
    assert first is not None
    assert cloned is not None
    assert cloned > first


def test_nothing_left_to_train_on_is_said() -> None:
    with pytest.raises(ValueError, match="leave none of the 200 dialogues"):
        train_ppo(small(world={"training_dialogues": 0.5, "indexed": 0.5}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 1.5}, "<= 1"),
        ({"tries": 0}, ">= 1"),
        ({"batch_size": 1}, ">= 2"),
        ({"learning_rate": 1e30}, "<= 1"),
        ({"n_envs": 1, "n_steps": 1}, "must be at least 2, not 1"),
        ({"steps": 5}, "unknown field `steps`"),
        ({"shape": {"ngrams": None}}, "a run encodes texts by hashed n-grams"),
        ({"world": {"env": {"split": "dev"}}}, r"env must not contain split: .* at `\$\.world`"),
        ({"world": {"env": {"max_episode_steps": 3}}}, "env must not contain max_episode_steps"),
    ],
)
def test_a_configuration_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)
    assert isinstance(small(), PPOConfig)


def test_a_run_is_written_down_without_the_credentials_of_its_judge() -> None:
    def written(password: str) -> dict[str, Any]:
        judge = {"name": "llm_judge", "client": "local", "api_base": f"http://u:{password}@host/v1"}
        return as_written(PPOConfig(world=CandidateEnvsConfig(reward=judge)))

    assert written("PW-secret") == written("another")
    assert written("PW-secret")["world"]["reward"]["api_base"] == "http://host/v1"
