from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.evaluation.rescore import rescore
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import play_all
from agent_gym_env.types import Action, Observation, ToolCall
from tests.evaluation.episode_factory import episode, turn


class RememberingReward:
    """Remembers every closed turn that it is given; its value depends on all that it can read."""

    name = "remembering"
    parts: tuple[str, ...] = ("length",)

    def __init__(self) -> None:
        self.seen: list[ClosedTurn] = []

    def score(self, turn: ClosedTurn) -> Score:
        self.seen.append(turn)
        length = len(turn.messages) % 101 / 100
        return Score(None if turn.index == 1 else length, {"length": length}, "by its length")


class ClumsyPolicy:
    """Does by chance all that an agent may get wrong, and some things right."""

    name = "clumsy"

    def __init__(self, teacher: SGDEnv) -> None:
        self._uniform = UniformPolicy()
        self._oracle = OraclePolicy(teacher)
        self._random = np.random.default_rng()

    def reset(self, *, seed: int | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._uniform.reset(seed=seed)

    def act(self, observation: Observation) -> Action:
        drawn = self._uniform.act(observation)
        recorded = self._oracle.act(observation)
        unknown = ToolCall("No_1-Such", {"é\u2028": [1, None, {"deep": "\U0001f600"}]})
        bare = ToolCall(name=(*drawn.tool_calls, unknown)[0].name.rpartition("-")[2])
        actions = [
            drawn,
            recorded,
            Action("", (unknown, *drawn.tool_calls)),
            Action("“Yes”\n</script>\u0000", (bare, *recorded.tool_calls)),
            Action("", (bare,) * 6),
            Action(),
            Action("x" * 70_000),
        ]
        return actions[self._random.integers(len(actions))]


def play(env: SGDEnv, policy: Any, episodes: int = 8) -> Iterator[Episode]:
    return play_all(env, policy, env.split.dialogue_ids()[:episodes], seed=3)


@pytest.mark.parametrize("make_policy", [OraclePolicy, lambda env: UniformPolicy(), ClumsyPolicy])
def test_a_reward_is_given_offline_exactly_what_it_was_given_in_play(make_policy: Any) -> None:
    online, offline = RememberingReward(), RememberingReward()
    env = SGDEnv(split="dev", reward=online)
    for played in play(env, make_policy(env)):
        stored = msgspec.json.decode(msgspec.json.encode(played), type=Episode)
        assert rescore(stored, offline) == played
    assert offline.seen == online.seen
    assert len(online.seen) > 20


@pytest.mark.parametrize("reward", ["ground_truth", "balanced"])
def test_an_offline_score_equals_the_online_one(reward: str) -> None:
    env = SGDEnv(split="dev", reward=reward)
    other = SGDEnv(split="dev", reward="ground_truth" if reward == "balanced" else "balanced")
    for played in play(env, ClumsyPolicy(env)):
        changed = rescore(played, other.settings.reward)
        assert changed.reward == other.settings.reward.name
        assert rescore(changed, env.settings.reward) == played


def test_a_judges_reason_is_recorded_and_an_old_one_forgotten() -> None:
    played = episode(turn(reason="the judge was silent"), turn(), turn())
    scored = rescore(played, RememberingReward()).turns
    assert [record.reason for record in scored] == ["by its length"] * 3
    assert scored[1].reward is None
