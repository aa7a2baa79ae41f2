"""Playing gives a record of all that was done, whatever the policy does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import pytest
from gymnasium.wrappers import TimeLimit

from agent_gym_env.assembly import make_env, rollout
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import (
    ContextExceeded,
    DeadlineError,
    PermanentLMError,
    TransientLMError,
)
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.lockstep import play_all_together
from agent_gym_env.rollout.play import episode_seed, play, play_all
from agent_gym_env.types import Action, Completion, Observation, ToolCall
from tests.corpora import FIND_TEA, TRAIN

TEA, BLACK, MIXED = (dialogue.dialogue_id for dialogue in TRAIN)
FIND = ToolCall("FindTea", {"kind": "green"})


class Scripted:
    """Plays actions one after another; an exception among them is raised."""

    name = "scripted"

    def __init__(self, *script: Any) -> None:
        self._script = script
        self._left: Iterator[Any] = iter(())

    def reset(self, *, seed: int | None = None) -> None:
        """Begin the script."""
        self._left = iter(self._script)

    def act(self, observation: Observation) -> Action:
        """Play the next action."""
        action = next(self._left, Action("Yes."))
        if isinstance(action, BaseException):
            raise action
        assert isinstance(action, Action)
        return action


@pytest.fixture
def env(tiny_corpus: Path) -> SGDEnv:
    return SGDEnv(str(tiny_corpus))


def test_an_episode_says_what_was_played(env: SGDEnv) -> None:
    episode = play(env, ConstantPolicy("Yes."), dialogue_id=MIXED, seed=3)
    assert (episode.dialogue_id, episode.split, episode.services) == (
        MIXED,
        "train",
        ("Teas_1", "Cakes_1"),
    )
    assert episode.corpus == env.split.fingerprint
    assert (episode.policy, episode.reward, episode.seed) == ("constant", "ground_truth", 3)
    assert (episode.date, episode.schema_variant) == ("2019-03-01", None)
    assert episode.seen_services == ("Teas_1", "Cakes_1")
    assert (episode.terminated, episode.truncated, episode.error) == (True, False, None)
    assert episode.duration_s > 0


def test_each_turn_has_its_steps_target_and_reward(env: SGDEnv) -> None:
    policy = Scripted(Action("", (FIND,)), Action("There is Sencha from Uji."), Action("No."))
    first, second, *_ = play(env, policy, dialogue_id=TEA).turns
    assert first.target is not None
    assert (first.user, first.target.text) == ("I want a green tea.", "There is Sencha from Uji.")
    assert [step.action for step in first.steps] == [
        Action("", (ToolCall(FIND_TEA, {"kind": "green"}),)),
        Action("There is Sencha from Uji."),
    ]
    assert first.steps[0].tool_result.startswith('[{"name":"Teas_1-FindTea"')
    assert (first.reward, first.components) == (
        1.0,
        {"response_similarity": 1.0, "tool_accuracy": 1.0},
    )
    assert (second.user, len(second.steps), second.reward) == ("Send me 50 grams.", 1, 0.0)


def test_a_repaired_action_is_recorded_as_it_was_understood(env: SGDEnv) -> None:
    episode = play(env, Scripted(Action("a\ud800", (ToolCall("Brew"),))), dialogue_id=TEA)
    [step] = episode.turns[0].steps
    assert step.action == Action("a\N{REPLACEMENT CHARACTER}", (ToolCall("Brew", {}),))
    assert step.action_error == "invalid_unicode"


def test_a_completion_is_kept(env: SGDEnv) -> None:
    completion = Completion("raw", model="m", cost_usd=0.1)
    episode = play(env, Scripted(Action("Hi.", completion=completion)), dialogue_id=TEA)
    assert episode.turns[0].steps[0].action == Action("Hi.", completion=completion)


def test_a_completion_with_lone_surrogates_can_be_written(env: SGDEnv) -> None:
    action = Action("Hi.", completion=Completion("\ud800Hi."))
    episode = play(env, Scripted(action), dialogue_id=TEA)
    assert msgspec.json.decode(msgspec.json.encode(episode), type=Episode) == episode


def test_a_policy_that_fails_ends_the_episode_which_says_so(env: SGDEnv) -> None:
    policy = Scripted(Action("Hi."), Action("", (FIND,)), OSError("no\ud800 model"))
    episode = play(env, policy, dialogue_id=TEA)
    assert episode.error == "OSError: no? model"
    assert (episode.terminated, episode.truncated, len(episode.turns)) == (False, False, 1)
    assert msgspec.json.decode(msgspec.json.encode(episode), type=Episode) == episode


@pytest.mark.parametrize(
    "failure", [ContextExceeded("the prompt is too long"), KeyError("slot"), RuntimeError("no")]
)
def test_a_policy_that_fails_by_itself_is_silent_to_the_end_and_scored(
    env: SGDEnv, failure: Exception
) -> None:
    policy = Scripted(Action("", (FIND,)), Action("There is Sencha from Uji."), failure)
    episode = play(env, policy, dialogue_id=TEA)
    assert (episode.terminated, len(episode.turns)) == (True, 4)
    # Calls are due in the first three turns: silence earns 0 there, and half of the last, in which
    # not calling is right.
    assert [turn.reward for turn in episode.turns] == [1.0, 0.0, 0.0, 0.5]
    codes = [step.action_error for turn in episode.turns for step in turn.steps]
    assert codes == [None, None, *["policy_failed"] * 3]
    assert episode.error is not None
    found = summarize([episode])
    assert (found.reward.mean, found.mean_return.mean) == (0.375, 1.5)
    assert sum(found.counts.failed_episodes.values()) == 1
    assert found.counts.action_errors == {"policy_failed": 3}


def test_failing_in_the_middle_of_a_turn_closes_it_with_the_calls_that_were_made(
    env: SGDEnv,
) -> None:
    episode = play(env, Scripted(Action("", (FIND,)), ContextExceeded("full")), dialogue_id=TEA)
    # The call is right and nothing is said: (0 + 1) / 2.
    assert [turn.reward for turn in episode.turns] == [0.5, 0.0, 0.0, 0.5]
    assert [len(turn.steps) for turn in episode.turns] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    "failure", [TransientLMError("503"), PermanentLMError("404"), DeadlineError("late"), OSError()]
)
def test_what_fails_around_the_policy_is_not_scored(env: SGDEnv, failure: Exception) -> None:
    episode = play(env, Scripted(Action("", (FIND,)), failure), dialogue_id=TEA)
    assert (episode.terminated, episode.turns) == (False, ())
    found = summarize([episode])
    assert (found.reward.mean, found.mean_return.mean) == (None, None)


def test_the_rule_holds_for_dialogues_that_are_played_together(tiny_corpus: Path) -> None:
    class Forgetful:
        name = "forgetful"

        def reset(self, *, seed: int | None = None) -> None:
            """Begin."""

        def act(self, observation: Observation) -> Action:
            if len(msgspec.json.decode(observation["messages"])) > 1:
                raise ContextExceeded("full")
            return Action("Yes.")

        def act_batch(self, observations: Any, *, seeds: Any = None) -> list[Action]:
            return [self.act(observation) for observation in observations]

    envs = [make_env(corpus=str(tiny_corpus)) for _ in range(2)]
    alone = [play(envs[0], Forgetful(), dialogue_id=each) for each in (TEA, BLACK)]
    together = list(play_all_together(envs, Forgetful(), [TEA, BLACK]))
    assert [e.turns for e in together] == [e.turns for e in alone]
    assert all(e.terminated and e.error == "ContextExceeded: full" for e in together)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_stops_the_run_stops_the_episode(env: SGDEnv, stop: type[BaseException]) -> None:
    with pytest.raises(stop):
        play(env, Scripted(stop()))


def test_a_time_limit_truncates(tiny_corpus: Path) -> None:
    env = TimeLimit(SGDEnv(str(tiny_corpus)), 2)
    episode = play(env, ConstantPolicy("Yes."), dialogue_id=TEA)
    assert (episode.terminated, episode.truncated, len(episode.turns)) == (False, True, 2)


class Undecided:
    """A judge that cannot answer."""

    name = "undecided"
    parts: tuple[str, ...] = ("verdict",)

    def score(self, turn: ClosedTurn) -> Score:
        """Return a score without a value."""
        return Score(None, {"verdict": None}, "no answer")


def test_an_unknown_reward_is_none_with_its_reason(tiny_corpus: Path) -> None:
    env = SGDEnv(str(tiny_corpus), reward=Undecided())
    for turn in play(env, ConstantPolicy("Yes."), dialogue_id=TEA).turns:
        assert (turn.reward, turn.components, turn.reason) == (None, {"verdict": None}, "no answer")


def test_the_oracle_earns_one_in_every_turn(env: SGDEnv) -> None:
    for episode in play_all(env, OraclePolicy(env), [TEA, BLACK, MIXED]):
        assert [turn.reward for turn in episode.turns] == [1.0] * len(episode.turns)


def test_the_same_seed_gives_the_same_episodes(env: SGDEnv) -> None:
    def played(seed: int) -> list[Episode]:
        policy = UniformPolicy()
        episodes = play_all(env, policy, [TEA, MIXED], seed=seed)
        return [msgspec.structs.replace(episode, duration_s=0.0) for episode in episodes]

    assert played(1) == played(1)
    assert played(1) != played(2)


def test_each_dialogue_has_a_seed_of_its_own() -> None:
    seeds = [episode_seed(seed, dialogue) for seed in (0, 1) for dialogue in (TEA, BLACK)]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_only_this_environment_s_episodes_are_recorded() -> None:
    with pytest.raises(TypeError, match="not CartPoleEnv"):
        play(gym.make("CartPole-v1"), ConstantPolicy("Yes."))


@pytest.mark.parametrize("wrong", [5, {"foo": 1}, None])
def test_an_action_that_is_none_at_all_ends_the_episode_not_the_run(wrong: object) -> None:
    class Wrong:
        name = "wrong"

        def reset(self, *, seed: int | None = None) -> None:
            pass

        def act(self, observation: Observation) -> Action:
            return wrong  # type: ignore[return-value]

    (episode,) = rollout(Wrong(), split="dev", episodes=1)
    assert episode.error is not None
    assert episode.turns == ()


def test_a_policy_that_cannot_begin_is_a_failed_episode() -> None:
    class Broken:
        name = "broken"

        def reset(self, *, seed: int | None = None) -> None:
            raise RuntimeError("no")

        def act(self, observation: Observation) -> Action:
            return Action("hello")

    (episode,) = rollout(Broken(), split="dev", episodes=1)
    assert episode.error == "RuntimeError: no"


@pytest.mark.parametrize("policy", ["silent", "rule", UniformPolicy(seed=3)])
@pytest.mark.parametrize(
    "world",
    [
        {"env": "SGD-v0"},
        {"env": "SGDSim-v0", "noise": {"acts": 0.5}},
        {"env": "SGDSim-v0", "understanding": "acts"},
    ],
)
def test_a_record_has_the_same_bytes_after_it_was_read(world: dict[str, Any], policy: Any) -> None:
    for episode in rollout(policy, **world, episodes=5):
        written = msgspec.json.encode(episode)
        assert msgspec.json.encode(msgspec.json.decode(written, type=Episode)) == written
