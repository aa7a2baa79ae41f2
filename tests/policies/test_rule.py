"""The rule agent, which plays the simulation from the observation alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.policies.agent_wording import agent_words
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.retrieval import RetrievalPolicy
from agent_gym_env.policies.rule import RulePolicy
from agent_gym_env.testing import check_policy
from agent_gym_env.types import Action

TRAIN = open_corpus("sample").split("train")


@pytest.fixture(scope="module")
def policy() -> RulePolicy:
    return RulePolicy(TRAIN)


def _simulation(split: str) -> Any:
    return make_env(env="SGDSim-v0", split=split, understanding="acts").unwrapped


def _strict(policy: Policy, env: Any) -> float:
    """Return the share of a split's dialogues that end in a strict success."""
    ids = env.split.dialogue_ids()
    return sum(_plays(policy, env, each) for each in ids) / len(ids)


def _plays(policy: Policy, env: Any, dialogue_id: str) -> bool:
    observation, info = env.reset(options={"dialogue_id": dialogue_id})
    policy.reset()
    for _ in range(200):
        observation, _, over, _, info = env.step(policy.act(observation))
        if over:
            return bool(info["task"]["strict"])
    raise AssertionError(f"dialogue {dialogue_id} does not end")


@pytest.mark.parametrize("split", ["dev", "test"])
def test_it_is_between_retrieval_and_the_acts_oracle(policy: RulePolicy, split: str) -> None:
    env = _simulation(split)
    mine, oracle = _strict(policy, env), _strict(ActsOraclePolicy(env), env)
    retrieval = _strict(RetrievalPolicy(TRAIN), env)
    print(f"{split}: strict: retrieval {retrieval:.3f}, rule {mine:.3f}, oracle {oracle:.3f}")
    assert retrieval + 0.5 <= mine <= oracle
    assert mine >= 0.7


def test_it_keeps_the_promises_of_a_policy() -> None:
    check_policy("rule")


def test_it_is_made_from_plain_configuration() -> None:
    env = make_env(env="SGDSim-v0", split="dev")
    policy = make_policy({"name": "rule", "wording": "terse"}, env)
    observation, _ = env.reset(options={"dialogue_id": "1_00001"})
    policy.reset()
    assert policy.act(observation).text == "What is the studio city? What is the activity?"


def test_words_come_with_their_acts_and_calls_without(policy: RulePolicy) -> None:
    env = _simulation("dev")
    for dialogue_id in env.split.dialogue_ids()[:10]:
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        policy.reset()
        over = False
        while not over:
            action = policy.act(observation)
            assert bool(action.text) == bool(action.acts) != bool(action.tool_calls)
            if [act.act for act in action.acts] == ["REQ_MORE"]:
                assert action.text == agent_words(action.acts, {})
            observation, _, over, _, _ = env.step(action)


def test_a_user_who_does_not_follow_hears_other_words_then_is_asked_what_they_want(
    policy: RulePolicy,
) -> None:
    env = _simulation("dev")
    observation, _ = env.reset(options={"dialogue_id": "1_00001"})
    policy.reset()
    said = [policy.act(observation)]
    for _ in range(2):
        unclear = env.step(Action("Colourless green ideas."))[0]
        said.append(policy.act(unclear))
    assert said[0].acts == said[1].acts
    assert said[0].text != said[1].text
    assert [act.act for act in said[2].acts] == ["REQ_MORE"]


@pytest.mark.parametrize("user", ["", "\x00\uffff", "Yes.", "No!", "x" * 5_000, "What is the the?"])
def test_it_acts_on_any_words_and_without_tools(policy: RulePolicy, user: str) -> None:
    first, _ = make_env(split="dev").reset(seed=0)
    for tools in (first["tools"], "[]"):
        policy.reset()
        for words in ("I want to find a place to eat.", user, user):
            messages = msgspec.json.encode([{"role": "user", "content": words}]).decode()
            observation = {"user": words, "tool_result": "", "messages": messages, "tools": tools}
            action = policy.act(observation)
            assert action.text or action.tool_calls


def test_an_unknown_style_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match="verbos"):
        RulePolicy(TRAIN, wording="verbos", training_dialogues=17)


@pytest.mark.parametrize(("split", "least"), [("dev", 0.75), ("test", 0.65)])
def test_it_solves_most_of_sgd_after_learning_from_a_few_dialogues(
    sgd_path: Path, split: str, least: float
) -> None:
    """The figures of the documentation come from all of train, which takes minutes to learn."""
    corpus = str(sgd_path)
    env: Any = make_env(env="SGDSim-v0", corpus=corpus, split=split, understanding="acts").unwrapped
    train = open_corpus(corpus).split("train")
    policy = RulePolicy(train, training_dialogues=400, indexed=400)
    ids = env.split.dialogue_ids()[::10]
    strict = sum(_plays(policy, env, each) for each in ids) / len(ids)
    print(f"{split}: strict success of the rule agent {strict:.3f} of {len(ids)}")
    assert strict >= least
