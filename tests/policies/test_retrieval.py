from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import make_env, make_reward, rollout
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.rescore import rescore
from agent_gym_env.policies.retrieval import RetrievalPolicy
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import Observation

REWARDS = ("ground_truth", "balanced")


@pytest.fixture(scope="module")
def policy() -> RetrievalPolicy:
    return RetrievalPolicy(open_corpus("sample").split("train"))


@pytest.fixture(scope="module")
def played(policy: RetrievalPolicy) -> list[Episode]:
    return list(rollout(policy, split="dev", reward="balanced"))


def observations(split: str, episodes: int) -> Iterator[Observation]:
    """Every observation that the oracle comes by."""
    env = make_env(split=split)
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            yield observation
            bare: Any = env.unwrapped
            observation, _, over, _, _ = env.step(bare.recorded_action())


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("other", ["silent", "constant", "uniform"])
def test_it_is_better_than_what_does_not_listen(
    played: list[Episode], other: str, reward: str
) -> None:
    scored_by = make_reward(reward, split="dev")
    mine = [rescore(episode, scored_by) for episode in played]
    comparison = compare(mine, list(rollout(other, split="dev", reward=reward)))
    assert comparison.reward.verdict == "better"


def test_it_is_better_on_services_that_train_has_and_has_not(played: list[Episode]) -> None:
    mine = summarize(played).splits
    constant = summarize(rollout("constant", split="dev", reward="balanced")).splits
    for split in ("seen", "unseen"):
        low, high = mine[split].low, constant[split].high
        assert low is not None
        assert high is not None
        assert low > high


def test_no_call_of_its_is_refused(played: list[Episode]) -> None:
    errors = [step.action_error for e in played for turn in e.turns for step in turn.steps]
    assert set(errors) == {None}


def test_the_same_observation_has_the_same_answer(policy: RetrievalPolicy) -> None:
    again = RetrievalPolicy(open_corpus("sample").split("train"))
    seen = list(observations("test", 3))
    first = [policy.act(observation) for observation in seen]
    assert [again.act(observation) for observation in reversed(seen)] == first[::-1]


def test_what_was_learned_is_kept(policy: RetrievalPolicy, agent_gym_home: Path) -> None:
    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (agent_gym_home / "retrieval").iterdir()}

    before = kept()
    (observation, *_) = observations("dev", 1)
    again = RetrievalPolicy(open_corpus("sample").split("train"))
    assert again.act(observation) == policy.act(observation)
    assert before
    assert kept() == before


def test_every_proposed_call_is_well_formed(policy: RetrievalPolicy) -> None:
    tools = ToolCatalogue(open_corpus("sample").split("test").tools)
    calls = [
        call
        for observation in observations("test", 10)
        for candidate in policy._generator.candidates(observation, 20)
        for call in candidate.action.tool_calls
    ]
    assert calls
    for call in calls:
        spec = tools.resolve(call.name)
        assert not isinstance(spec, str)
        assert tools.problem(spec, call.arguments) is None


def test_candidates_are_different_actions_and_the_best_comes_first(
    policy: RetrievalPolicy,
) -> None:
    for observation in observations("dev", 4):
        found = policy._generator.candidates(observation, 8)
        assert 1 <= len(found) <= 8
        scores = [candidate.score for candidate in found]
        assert scores == sorted(scores, reverse=True)
        actions = [msgspec.json.encode(candidate.action) for candidate in found]
        assert len(set(actions)) == len(actions)
        assert policy.act(observation) == found[0].action


def test_it_transfers_to_real_dialogues(sgd_path: Path) -> None:
    world: dict[str, Any] = {"corpus": str(sgd_path), "split": "dev", "reward": "balanced"}
    small = {"name": "retrieval", "training_dialogues": 400, "indexed": 400}
    mine = list(rollout(small, episodes=40, **world))
    constant = list(rollout("constant", episodes=40, **world))
    assert compare(mine, constant).reward.verdict == "better"
