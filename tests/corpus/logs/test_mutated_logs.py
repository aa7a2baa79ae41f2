"""A damaged log gives a typed error with its place, or a corpus in order, and nothing else."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import DataError
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.testing import check_corpus
from tests.corpus.logs.mutations import write_mutated_log


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile into a cache of this test: it makes one corpus for each file."""
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path / "home"))


def outcome(path: Path, random: Random) -> str:
    """Open and play a log; return what came of it."""
    log = {
        "name": "logs",
        "path": str(path),
        "infer_tools": random.random() < 0.9,
        "skip_bad": random.random() < 0.6,
    }
    corpus = opened(log)
    if isinstance(corpus, DataError):
        assert (corpus.file or "").startswith(str(path)), corpus
        return f"error {getattr(corpus, 'kind', '')}"
    check_corpus(corpus)
    for name in corpus.splits():
        for reward in ("ground_truth", "balanced"):
            play(SGDEnv(log, name, reward=reward))
    return "corpus"


def opened(log: dict[str, Any]) -> Corpus | DataError:
    try:
        corpus = open_corpus(log)
        for name in corpus.splits():
            corpus.split(name)
    except DataError as error:
        return error
    return corpus


def play(env: SGDEnv) -> None:
    """Play every dialogue by the oracle, which earns 1.0 at each turn."""
    policy = OraclePolicy(env)
    for dialogue_id in env.split.dialogue_ids():
        observation, info = env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            action = policy.act(observation)
            observation, reward, over, _, info = env.step(action)
            assert info["action_error"] is None, (action, info, observation)
            assert reward == 1.0 or info["target"] is None, (reward, info)


def try_logs(folder: Path, seeds: range) -> Counter[str]:
    outcomes = Counter[str]()
    for seed in seeds:
        inside = folder / f"{seed}"
        inside.mkdir()
        with warnings.catch_warnings():
            # Changed names of tools are often such as providers refuse.
            warnings.filterwarnings("ignore", "(?s).*have names that providers", UserWarning)
            try:
                outcomes[outcome(write_mutated_log(inside, seed), Random(seed))] += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
    return outcomes


def test_some_hundred_damaged_logs(tmp_path: Path) -> None:
    outcomes = try_logs(tmp_path, range(300))
    assert outcomes["corpus"] >= 60
    assert len(outcomes) >= 10, outcomes


@pytest.mark.long
def test_ten_thousand_damaged_logs(tmp_path: Path) -> None:
    outcomes = try_logs(tmp_path, range(10_000))
    assert outcomes["corpus"] >= 2000
    assert len(outcomes) >= 15, outcomes
