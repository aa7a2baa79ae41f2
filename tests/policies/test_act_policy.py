"""The file of a policy that chooses acts is data: it is read or refused, and nothing runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent_gym_env.assembly import make_act_choices, make_env, make_policy
from agent_gym_env.errors import DataError
from agent_gym_env.policies.act_policy import FORMAT, ActPolicy, Header
from agent_gym_env.rollout.play import play
from agent_gym_env.storage.array_file import Arrays

ENV = make_env(env="SGDSim-v0", split="dev", understanding="acts")
HEADER = Header(FORMAT, "mine", "acts", 0, 0, "plain")


def weights(hidden: int = 8) -> Arrays:
    """Random weights."""
    random = np.random.default_rng(0)
    size = len(make_act_choices(ENV, hears="acts").features())
    shapes = {"hidden_1": (hidden, size), "hidden_2": (hidden, hidden), "scores": (20, hidden)}
    found: Arrays = {}
    for name, shape in shapes.items():
        found[name] = random.normal(size=shape).astype(np.float32)
        found[f"{name}_bias"] = random.normal(size=shape[0]).astype(np.float32)
    return found


def policy(found: Arrays, header: Header = HEADER) -> ActPolicy:
    return ActPolicy(make_act_choices(ENV, hears="acts"), found, header)


def test_a_saved_policy_plays_as_before(tmp_path: Path) -> None:
    before = policy(weights())
    before.save(tmp_path / "policy.npz")
    after = make_policy({"name": "acts", "path": str(tmp_path / "policy.npz")}, ENV)
    assert after.name == "mine (told acts)"
    one, other = (play(ENV, each, seed=5) for each in (before, after))
    assert [turn.steps for turn in one.turns] == [turn.steps for turn in other.turns]


def test_a_policy_never_takes_what_is_not_possible() -> None:
    for seed in range(20):
        assert play(ENV, policy(weights()), seed=seed).error is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scores", np.zeros((3, 8), np.float32), r"shapes .*\(3, 8\).* expected .*\(20, 8\)"),
        ("hidden_1_bias", np.zeros(8), "hidden_1_bias contains NaN or infinity, or is not float32"),
        ("scores", np.full((20, 8), np.nan, np.float32), "scores contains NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    name: str, value: np.ndarray, message: str, tmp_path: Path
) -> None:
    saved = policy(weights())
    saved._weights = weights() | {name: value}
    saved.save(tmp_path / "policy.npz")
    with pytest.raises(DataError, match=message):
        make_policy({"name": "acts", "path": str(tmp_path / "policy.npz")}, ENV)


def test_another_format_is_refused(tmp_path: Path) -> None:
    policy(weights(), Header(99, "mine", "acts", 0, 0, "plain")).save(tmp_path / "policy.npz")
    with pytest.raises(DataError, match="the policy's format is 99, this version reads 1"):
        make_policy({"name": "acts", "path": str(tmp_path / "policy.npz")}, ENV)


def test_a_policy_that_is_told_acts_needs_a_user_who_tells_them(tmp_path: Path) -> None:
    policy(weights()).save(tmp_path / "policy.npz")
    with pytest.raises(TypeError, match="SGDEnv does not tell them"):
        make_policy({"name": "acts", "path": str(tmp_path / "policy.npz")}, make_env())


def test_a_policy_that_was_told_acts_can_listen_to_words(tmp_path: Path) -> None:
    header = msgspec.structs.replace(HEADER, training_dialogues=120)
    policy(weights(), header).save(tmp_path / "policy.npz")
    config = {"name": "acts", "path": str(tmp_path / "policy.npz"), "hears": "words"}
    env = make_env(env="SGDSim-v0", split="dev")
    choices = make_act_choices(env, hears="words", training_dialogues=120, indexed=0)
    reads = ActPolicy(choices, weights(), HEADER)
    one, other = (play(env, each, seed=5) for each in (make_policy(config, env), reads))
    assert [turn.steps for turn in one.turns] == [turn.steps for turn in other.turns]
    listening = make_policy(config, make_env())
    assert play(make_env(), listening, seed=5).error is None
    assert isinstance(listening, ActPolicy)
    listening.save(tmp_path / "policy.npz")
    del config["hears"]
    assert make_policy(config, make_env()).name == "mine"
    with pytest.raises(ValueError, match="hears: expected one of acts, words, found 'all'"):
        make_policy(config | {"hears": "all"}, ENV)
