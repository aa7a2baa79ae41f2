"""Plain configuration becomes environments, policies and episodes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

from agent_gym_env.assembly import (
    choose_dialogues,
    make_env,
    make_policy,
    make_reward,
    make_runner,
    name_model,
    rollout,
)
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.registry import POLICIES, REWARDS
from agent_gym_env.training.hindsight import BestCandidatePolicy
from tests.corpora import TRAIN

TEA, BLACK, MIXED = (dialogue.dialogue_id for dialogue in TRAIN)


@pytest.fixture
def corpus(tiny_corpus: Path) -> str:
    return str(tiny_corpus)


def test_an_environment_is_made_through_gymnasium(corpus: str) -> None:
    env = make_env(corpus=corpus, split="dev", max_episode_steps=2)
    assert isinstance(env.unwrapped, SGDEnv)
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == ("SGD-v0", 2)
    assert isinstance(env, TimeLimit)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ("oracle", OraclePolicy),
        ("silent", ConstantPolicy),
        ({"name": "constant", "text": "Yes."}, ConstantPolicy),
        ({"name": "uniform", "call_probability": 0.1}, UniformPolicy),
        ({"name": "best-candidate", "training_dialogues": 3, "indexed": 3}, BestCandidatePolicy),
    ],
)
def test_a_policy_is_made_of_its_name_and_options(corpus: str, config: Any, kind: type) -> None:
    policy = make_policy(config, make_env(corpus=corpus))
    assert type(policy) is kind
    name = config if isinstance(config, str) else config["name"]
    assert policy.name == name
    assert name in POLICIES.names()


def test_a_policy_is_given_back(corpus: str) -> None:
    policy = ConstantPolicy("Yes.")
    assert make_policy(policy, make_env(corpus=corpus)) is policy


@pytest.mark.parametrize("config", ["clever", {}, {"name": "clever"}, {"text": "Yes."}])
def test_an_unknown_policy_is_told_with_those_that_are_known(corpus: str, config: Any) -> None:
    with pytest.raises(ValueError, match="policy must be one of oracle, silent"):
        make_policy(config, make_env(corpus=corpus))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("retreival", "not 'retreival' (did you mean 'retrieval'?)"),
        ({"name": "constant", "txt": "x"}, "has no option 'txt' (did you mean 'text'?); its "),
        ({"name": "uniform", "Max_Words": 3}, "(did you mean 'max_words'?)"),
        ({"name": "llm", "modle": "gpt"}, "has no option 'modle' (did you mean 'model'?)"),
        ({"name": "oracle", "x": 1}, "has no option 'x'; it has no options"),
        (
            {"name": "best-candidate", "training_dialogue": 1},
            "(did you mean 'training_dialogues'?)",
        ),
        ({"name": "retrieval", "training_dialoges": 1}, "(did you mean 'training_dialogues'?)"),
    ],
)
def test_what_is_not_known_of_a_policy_is_refused_with_the_nearest(
    corpus: str, config: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make_policy(config, make_env(corpus=corpus))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"name": "constant", "text": 5}, "text: expected a string, found a whole number"),
        ({"name": "uniform", "seed": "x"}, "seed: expected a whole number or null, found a string"),
        ({"name": "uniform", "seed": -1}, "seed: expected a whole number >= 0, found -1"),
        (
            {"name": "retrieval", "training_dialogues": "x"},
            "training_dialogues: expected a whole number, found a string",
        ),
        ({"name": "retrieval", "indexed": -1}, "indexed: expected a whole number >= 0, found -1"),
        ({"name": "best-candidate", "k": 0}, "k: expected a whole number >= 1, found 0"),
        ({"name": "llm", "rules": 5}, "rules: expected a string, found a whole number"),
        ({"name": "llm", "temperature": "hot"}, "temperature: expected a number or null, found a "),
        ({"name": "llm", "max_tokens": 0}, "max_tokens: expected a whole number >= 1, found 0"),
        ({"name": "llm", "extra": 5}, "extra: expected an object or null, found a whole number"),
        ({"name": "llm", "limits": {"x": 1}}, "limits: unknown field 'x'; expected one of"),
        ({"name": "llm", "price": {"promt": 1}}, "unknown field 'promt' (did you mean 'prompt'?)"),
        ({"name": "llm", "budget_usd": -1}, "budget_usd: expected a number >= 0.0, found -1"),
        ({"name": "llm", "model": 5}, "an object of its options or a language model, not 5"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_or_range_is_refused_by_the_name_of_its_option(
    corpus: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make_policy(config, make_env(corpus=corpus))


def test_numbers_of_numpy_are_numbers(corpus: str) -> None:
    config = {"name": "uniform", "max_words": np.int64(3), "call_probability": np.float32(0.5)}
    policy = make_policy(config, make_env(corpus=corpus))
    assert isinstance(policy, UniformPolicy)
    assert policy.max_words == 3


@pytest.mark.parametrize(
    ("library", "config", "said"),
    [
        ("torch", {"name": "sb3", "pth": "x"}, "(did you mean 'path'?)"),
        ("torch", {"name": "sb3"}, "policy 'sb3' needs the option 'path'"),
        ("transformers", {"name": "transformers", "path": "x", "devize": "cpu"}, "'device'?)"),
        ("torch", {"name": "sb3", "path": 5}, "path: expected a string, found a whole number"),
        ("transformers", {"name": "transformers", "path": "x", "max_new_tokens": -1},
         "max_new_tokens: expected a whole number >= 1, found -1"),
        ("transformers", {"name": "transformers", "path": "x", "guided": "no"},
         "guided: expected true or false, found a string"),
        ("dspy", {"name": "dspy", "program": 5}, "program: expected a string or null, found a "),
        ("dspy", {"name": "dspy", "programm": "x"}, "(did you mean 'program'?)"),
    ],
)  # fmt: skip
def test_options_are_refused_before_anything_is_read(
    corpus: str, library: str, config: Any, said: str
) -> None:
    pytest.importorskip(library, reason="needs its extra")
    with pytest.raises(ValueError, match=re.escape(said)):
        make_policy(config, make_env(corpus=corpus))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"corpus": 5}, "corpus must be a name, a path or a reader, not 5"),
        ({"corpsu": "sample"}, "has no option 'corpsu' (did you mean 'corpus'?)"),
        ({"split": "trian"}, "not 'trian' (did you mean 'train'?)"),
        ({"seen": "unsen"}, "(did you mean 'unseen'?)"),
        ({"services": ["Cake_1"]}, "not 'Cake_1' (did you mean 'Cakes_1'?)"),
        ({"tools_offered": "dialog"}, "(did you mean 'dialogue'?)"),
        ({"reward": "balance"}, "(did you mean 'balanced'?)"),
        ({"reward": {"name": "llm_judge", "vote": 3}}, "(did you mean 'votes'?)"),
        ({"reward": {"name": "llm_judge", "votes": 0}}, "expected a whole number >= 1, found 0"),
        ({"reward": {"name": "llm_judge", "model": 5}}, "or a language model, not 5"),
        ({"reward": {"name": "hybrid", "first": "grund_truth"}}, "mean 'ground_truth'?)"),
        ({"reward": {"name": "llm_judge", "model": {"modle": "x"}}}, "(did you mean 'model'?)"),
        ({"reward": {"name": "hybrid", "model": {"client": "lokal"}}}, "(did you mean 'local'?)"),
    ],
)
def test_what_is_not_known_of_an_environment_is_refused_with_the_nearest(
    tiny_corpus: Path, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make_env(**{"corpus": str(tiny_corpus), **arguments})


def test_a_runner_that_is_not_known_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=re.escape("(did you mean 'processes'?)")):
        make_runner("proceses", 2)


def test_policies_play_this_environment_only() -> None:
    with pytest.raises(TypeError, match="CartPoleEnv"):
        make_policy("oracle", gym.make("CartPole-v1"))


def test_a_reward_is_made_as_an_environment_makes_it(corpus: str) -> None:
    assert make_reward("balanced", corpus=corpus, split="dev").name == "balanced"


def test_dialogues_are_chosen_without_repetition_and_in_order(corpus: str) -> None:
    env = make_env(corpus=corpus)
    assert choose_dialogues(env, None, seed=0) == [TEA, BLACK, MIXED]
    assert choose_dialogues(env, 99, seed=0) == [TEA, BLACK, MIXED]
    chosen = {tuple(choose_dialogues(env, 2, seed=seed)) for seed in range(20)}
    assert chosen == {(TEA, BLACK), (TEA, MIXED), (BLACK, MIXED)}
    assert choose_dialogues(env, 2, seed=7) == choose_dialogues(env, 2, seed=7)


def test_only_dialogues_of_the_selection_are_chosen(corpus: str) -> None:
    env = make_env(corpus=corpus, services=["Teas_1"])
    assert choose_dialogues(env, None, seed=0) == [TEA, BLACK]


def test_a_rollout_plays_the_chosen_dialogues(corpus: str) -> None:
    counts: list[int] = []
    episodes = list(rollout("oracle", corpus=corpus, reward="balanced", on_begin=counts.append))
    assert [episode.dialogue_id for episode in episodes] == [TEA, BLACK, MIXED]
    assert counts == [3]
    rewards = {turn.reward for episode in episodes for turn in episode.turns}
    assert rewards == {1.0}


def test_a_rollout_repeats_with_its_seed(corpus: str) -> None:
    def played(seed: int) -> list[msgspec.Struct]:
        episodes = rollout("uniform", episodes=2, seed=seed, corpus=corpus)
        return [msgspec.structs.replace(episode, duration_s=0.0) for episode in episodes]

    assert played(3) == played(3)
    assert played(3) != played(4)


@pytest.mark.parametrize(
    ("config", "model", "named"),
    [
        ({"name": "llm"}, None, {"name": "llm", "model": "from/env"}),
        ({"name": "llm", "model": None}, None, {"name": "llm", "model": "from/env"}),
        ({"name": "llm"}, "a/b", {"name": "llm", "model": "a/b"}),
        ({"name": "llm", "model": "c/d"}, "a/b", {"name": "llm", "model": "c/d"}),
        ({"name": "dspy", "cache": "x"}, {"client": "local", "api_base": "y"},
         {"name": "dspy", "cache": "x", "client": "local", "api_base": "y"}),
        ({"name": "hybrid", "votes": 3}, "a/b", {"name": "hybrid", "votes": 3, "model": "a/b"}),
        ({"name": "oracle"}, "a/b", {"name": "oracle"}),
        ({"name": "balanced"}, None, {"name": "balanced"}),
    ],
)  # fmt: skip
def test_a_model_is_named_where_one_is_asked_and_none_is_named(
    config: Any, model: Any, named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_GYM_MODEL", "from/env")
    kind = REWARDS if config["name"] in REWARDS.names() else POLICIES
    assert name_model(config, model, kind=kind) == named


def test_a_policys_model_is_given_flat_or_as_a_mapping(corpus: str) -> None:
    pytest.importorskip("aiohttp", reason="the lean client needs the extra local")
    env = make_env(corpus=corpus)
    model = {"model": "qwen", "client": "local", "api_base": "http://127.0.0.1:9/v1"}
    flat = make_policy({"name": "llm", **model}, env)
    mapping = make_policy({"name": "llm", "model": model}, env)
    assert flat.name == mapping.name == "llm:qwen"
