"""PPO over dialogue acts repeats, goes on after a stop, and beats its cloned start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.policies.act_policy import ActPolicy
from agent_gym_env.rollout.play import play
from agent_gym_env.training.act_envs import ActEnvs, ActEnvsConfig
from agent_gym_env.training.act_ppo import train_act_ppo
from agent_gym_env.training.curve import CurvePoint, read_curve
from agent_gym_env.training.ppo_config import ActPPOConfig
from tests.training.small_run import RUN, StoppedError, stop_after

SMALL: dict[str, Any] = {
    **RUN,
    "world": {"env": {"understanding": "acts"}, "hears": "acts"},
    "cloning": {"dialogues": 3, "epochs": 2},
    "hidden": 16,
    "critic_updates": 1,
}


def small(**changes: Any) -> ActPPOConfig:
    """Configure a run of a second."""
    return msgspec.convert({**SMALL, **changes}, ActPPOConfig)


def weights(policy: ActPolicy) -> list[float]:
    """All weights of a policy."""
    return [float(value) for array in policy._weights.values() for value in array.ravel()]


def saved_weights(path: Path) -> dict[str, Any]:
    """The weights in a file."""
    return {name: array.tolist() for name, array in np.load(path).items() if name != "header.json"}


def test_the_same_settings_give_the_same_policy() -> None:
    first = weights(train_act_ppo(small()))
    assert weights(train_act_ppo(small())) == first
    assert weights(train_act_ppo(small(seed=1))) != first


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = train_act_ppo(small(), out=tmp_path / "whole")
    with pytest.raises(StoppedError):
        train_act_ppo(small(), out=tmp_path / "stopped", on_progress=stop_after(192))
    resumed = train_act_ppo(small(), out=tmp_path / "stopped", resume=True)
    assert weights(resumed) == weights(whole)
    curves = [read_curve(tmp_path / name / "curve.jsonl") for name in ("whole", "stopped")]
    assert [point.strict for point in curves[0]] == [point.strict for point in curves[1]]


def test_the_critic_alone_learns_at_first(tmp_path: Path) -> None:
    config = small(evaluation={"dialogues": 1, "every": 64}, total_timesteps=128)
    with pytest.raises(StoppedError):
        train_act_ppo(config, out=tmp_path, on_progress=stop_after(64))
    frozen, cloned = (saved_weights(tmp_path / f"{name}.npz") for name in ("policy", "cloned"))
    assert frozen == cloned
    train_act_ppo(config, out=tmp_path / "whole")
    assert saved_weights(tmp_path / "whole/policy.npz") != cloned


def test_a_run_in_which_the_policy_would_never_change_is_refused() -> None:
    with pytest.raises(ValueError, match=r"for the first 64 steps .* a clone does not change"):
        small(total_timesteps=64)
    assert small(total_timesteps=0).critic_updates == 1
    assert small(total_timesteps=64, cloning={"dialogues": 0}).total_timesteps == 64


@pytest.mark.parametrize("hears", ["acts", "words"])
def test_demonstrations_are_what_the_recorded_agent_did(hears: str) -> None:
    world: dict[str, Any] = {"env": {"understanding": "acts"}, "hears": hears}
    envs = ActEnvs(msgspec.convert(world, ActEnvsConfig))
    shown = envs.demonstrate(10, 0, lambda done, total: None)
    assert len(shown.labels) > 60
    assert shown.vectors.shape[0] == shown.masks.shape[0] == len(shown.labels)
    assert shown.masks[range(len(shown.labels)), shown.labels].all()


@pytest.mark.parametrize("noise", [None, {"acts": 0.2, "values": 0.1}])
def test_demonstrations_by_rules_are_what_solves_the_dialogue(
    noise: dict[str, float] | None,
) -> None:
    world: dict[str, Any] = {"env": {"understanding": "acts", "noise": noise}, "hears": "acts"}
    envs = ActEnvs(msgspec.convert(world, ActEnvsConfig))
    env = envs.make_env()
    solved = 0
    for seed in range(8):
        shown = envs.demonstrate(1, seed, lambda done, total: None, "rules")
        [drawn] = np.random.default_rng(seed).permutation(envs.dialogues)[:1]
        features, info = env.reset(seed=seed, options={"dialogue_id": str(drawn)})
        assert features.tolist() == shown.vectors[0].tolist()
        assert info["action_mask"].tolist() == shown.masks[0].tolist()
        for label in shown.labels:
            *_, info = env.step(np.int64(label))
        solved += info["task"]["strict"]
    assert solved == 8 if noise is None else solved >= 6


def test_a_clone_of_the_rules_acts_like_them(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    train_act_ppo(
        small(
            cloning={"dialogues": 100, "epochs": 60},
            teacher="rules",
            evaluation={"dialogues": 52},
            hidden=64,
            total_timesteps=0,
        ),
        on_point=points.append,
    )
    assert points[-1].stage == "cloned"
    assert points[-1].strict is not None
    assert (points[-1].strict.mean or 0.0) >= 0.9


def test_an_unknown_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher must be one of recorded, rules, not 'rule'"):
        ActPPOConfig(teacher="rule")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no step of the 0 dialogues is one of the twenty choices"):
        ActEnvs(ActEnvsConfig(hears="acts")).demonstrate(0, 0, lambda done, total: None, "rules")


def test_an_agent_that_hears_words_trains_on_other_dialogues_than_its_ears() -> None:
    told = ActEnvs(msgspec.convert({"hears": "acts"}, ActEnvsConfig))
    reads = ActEnvs(msgspec.convert({"hears": "words"}, ActEnvsConfig))
    assert len(reads.dialogues) < len(told.dialogues)
    assert set(reads.dialogues) < set(told.dialogues)
    few = {"env": {"services": ["Salon_1"]}, "training_dialogues": 0.99}
    with pytest.raises(ValueError, match=r"training_dialogues=0.99 leaves none of the"):
        ActEnvs(msgspec.convert(few, ActEnvsConfig))


def test_the_run_chooses_the_split_itself() -> None:
    with pytest.raises(msgspec.ValidationError, match="env must not contain split"):
        small(world={"env": {"split": "dev"}})


def test_ppo_beats_its_cloned_start_on_held_out_dialogues(tmp_path: Path) -> None:
    noisy: dict[str, Any] = {"understanding": "acts", "noise": {"acts": 0.1, "values": 0.05}}
    points: list[CurvePoint] = []
    train_act_ppo(
        small(
            world={"env": noisy, "hears": "acts"},
            cloning={"dialogues": 20, "epochs": 100},
            evaluation={"dialogues": 52, "every": 1_000_000},
            hidden=128,
            total_timesteps=60_000,
            n_envs=32,
            n_steps=64,
            batch_size=512,
            n_epochs=4,
            critic_updates=3,
            checkpoint_every=1_000_000,
        ),
        out=tmp_path,
        on_point=points.append,
    )
    initial, cloned, trained = (point.strict.mean or 0.0 for point in points if point.strict)
    assert initial < 0.1
    assert trained >= cloned + 0.1
    assert trained >= 0.9
    env = make_env(env="SGDSim-v0", split="test", **noisy)
    policy = make_policy({"name": "acts", "path": str(tmp_path / "policy.npz")}, env)
    assert play(env, policy, seed=0).turns[-1].simulated is not None
