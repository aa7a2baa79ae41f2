"""Episodes of simulated users: what they record, and that they can be played by every runner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from agent_gym_env.assembly import collect, make_env, play_episodes
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import Understanding
from agent_gym_env.errors import BudgetExceeded, TransientLMError
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.rollout.episode import Episode, observations, transcript
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.types import Action, DialogueAct, Observation
from agent_gym_env.users.wording import ActsToSay, UserWords

SIMULATION: dict[str, Any] = {"env": "SGDSim-v0", "split": "dev", "understanding": "acts"}


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return list(play_episodes("acts-oracle", episodes=12, **SIMULATION))


def _without_time(episodes: Iterable[Episode]) -> list[Episode]:
    plain = (msgspec.structs.replace(each, duration_s=0.0) for each in episodes)
    return sorted(plain, key=lambda each: each.dialogue_id)


class AskingInBatches(ConstantPolicy):
    """Answer many dialogues at once, all with the same question."""

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None]
    ) -> list[Action]:
        """Answer each observation."""
        return [Action("Which city?", acts=(DialogueAct("REQUEST", "city"),)) for _ in seeds]

    def act(self, observation: Observation) -> Action:
        """Answer one observation."""
        return self.act_batch([observation], seeds=[None])[0]


def test_an_episode_records_goal_options_and_verdicts(episodes: list[Episode]) -> None:
    for episode in episodes:
        user = episode.simulated_user
        assert user is not None
        assert user.goal == episode.dialogue_id
        assert (user.options["understanding"], user.options["patience"]) == ("acts", 4)
        assert user.errands >= 1
        assert not user.opening.success
        assert not user.leaves
        last = episode.turns[-1].simulated
        assert last is not None
        assert last.verdict.strict
        assert {act.act for act in last.answer} >= {"THANK_YOU"}
    assert {each.simulated_user.writes > 0 for each in episodes if each.simulated_user} == {
        False,
        True,
    }


def test_a_turn_records_what_the_user_heard_and_counted() -> None:
    [episode] = play_episodes(ConstantPolicy("Hm."), episodes=1, **SIMULATION)
    assert episode.simulated_user is not None
    assert episode.simulated_user.leaves
    taken = [turn.simulated for turn in episode.turns]
    assert [each and each.meaning.kind for each in taken] == ["none"] * 5
    counted = [("not_understood", "patience_lost", "words_own")] * 5
    assert [each and each.events for each in taken] == counted
    assert not any(each and each.understood for each in taken)
    assert episode.terminated


@pytest.mark.parametrize("understanding", get_args(Understanding))
def test_whatever_the_user_reads_the_meaning_is_recorded(understanding: str) -> None:
    arguments = {**SIMULATION, "understanding": understanding}
    [episode] = play_episodes("acts-oracle", episodes=1, **arguments)
    taken = [turn.simulated for turn in episode.turns]
    assert {each.meaning.kind for each in taken if each is not None} >= {"offer", "more"}
    assert episode.simulated_user is not None
    assert episode.simulated_user.options["understanding"] == understanding


def test_episodes_survive_json_and_rebuild_their_observations(episodes: list[Episode]) -> None:
    for episode in episodes:
        assert msgspec.json.decode(msgspec.json.encode(episode), type=Episode) == episode
        *_, last = transcript(episode)
        *_, observation = observations(episode)
        assert last.closed == observation["messages"]


@pytest.mark.parametrize(
    ("simulated_user", "problem"),
    [
        (True, "a simulated dialogue lacks `simulated`"),
        (False, "a recorded dialogue lacks `target`"),
    ],
)
def test_a_turn_of_the_other_kind_is_refused(
    episodes: list[Episode], simulated_user: bool, problem: str
) -> None:
    [recorded] = play_episodes("oracle", split="dev", episodes=1)
    turns = (recorded if simulated_user else episodes[0]).turns
    user = episodes[0].simulated_user if simulated_user else None
    mixed = msgspec.to_builtins(recorded) | {
        "turns": msgspec.to_builtins(turns),
        "simulated_user": msgspec.to_builtins(user),
    }
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(mixed, Episode)


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_every_runner_plays_the_same_episodes(
    episodes: list[Episode], tmp_path: Path, runner: str
) -> None:
    collect("acts-oracle", tmp_path, episodes=12, runner=runner, workers=2, **SIMULATION)
    assert _without_time(read_episodes(tmp_path)) == _without_time(episodes)


def test_lockstep_plays_as_serially(tmp_path: Path) -> None:
    policy = AskingInBatches()
    for runner in ("serial", "lockstep"):
        collect(policy, tmp_path / runner, episodes=6, runner=runner, **SIMULATION)
    serial, lockstep = (
        _without_time(read_episodes(tmp_path / each)) for each in ("serial", "lockstep")
    )
    assert lockstep == serial


class FailingUser:
    """Words its acts plainly, until its language model fails."""

    def __init__(self, answers: int) -> None:
        self._left = answers

    def words(self, said: ActsToSay) -> UserWords:
        """Return plain words, or raise the error of a model."""
        self._left -= 1
        if self._left < 0:
            raise TransientLMError("the line is dead")
        return UserWords(" ".join(act.act for act in said.acts), "model")


@pytest.mark.parametrize("answers", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_user_whose_model_fails_ends_the_episode_and_not_the_run(
    answers: int, batch: int
) -> None:
    """Its closed turns are kept, and its outcome is unknown: the agent is not to blame."""
    policy: Any = AskingInBatches()
    user = FailingUser(answers)
    first, *others = play_episodes(policy, episodes=3, batch=batch, user=user, **SIMULATION)
    assert first.error == "TransientLMError: the line is dead"
    assert not first.terminated
    assert all(each.error for each in others)
    assert sum(len(each.turns) for each in (first, *others)) == max(answers - batch, 0)
    found = summarize([first, *others]).simulated
    assert found is not None
    assert (found.strict.count, found.strict.left_out) == (0, 3)


def test_a_run_without_budget_for_the_users_model_stops() -> None:
    class Spent(FailingUser):
        def words(self, said: ActsToSay) -> UserWords:
            raise BudgetExceeded("spent")

    with pytest.raises(BudgetExceeded):
        list(play_episodes("acts-oracle", episodes=2, user=Spent(0), **SIMULATION))


def test_users_with_other_models_are_other_users() -> None:
    address = "http://someone:canary@127.0.0.1:9/v1"
    user = {"name": "llm", "model": "m", "client": "local", "api_base": address}
    env = make_env(**SIMULATION, user=user).unwrapped
    assert isinstance(env, SGDSimEnv)
    assert env.user_options["user"]["model"] == "m"
    assert "canary" not in repr(env.user_options)


def test_a_budget_of_the_user_is_not_shared_by_processes(tmp_path: Path) -> None:
    user: dict[str, Any] = {"name": "llm", "model": "m", "client": "local", "budget_calls": 3}
    user["api_base"] = "http://127.0.0.1:9/v1"
    with pytest.raises(ValueError, match="budget_calls is kept by one process"):
        collect("acts-oracle", tmp_path, runner="processes", user=user, **SIMULATION)


def test_the_best_of_several_is_the_one_with_the_highest_sum(tmp_path: Path) -> None:
    collect("acts-oracle", tmp_path, episodes=3, best_of=2, **SIMULATION)
    for episode in read_episodes(tmp_path):
        assert episode.ranking_reward == sum(turn.reward or 0.0 for turn in episode.turns)


def test_an_unknown_environment_and_foreign_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"env must be .* \(did you mean 'SGDSim-v0'\?\)"):
        next(play_episodes("acts-oracle", env="SGDSim"))
    with pytest.raises(ValueError, match="patience"):
        next(play_episodes("oracle", patience=2))
