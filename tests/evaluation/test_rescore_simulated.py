"""Rewards of simulated dialogues computed from the record, as they are in play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import make_reward, play_episodes
from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.rescore import closed_turns, rescore
from agent_gym_env.export.from_episodes import correction_rows, prompt_rows
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.rewards.task import TASK_REWARD_NAMES, make_task_reward
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_episodes, write_episodes

Capture = pytest.CaptureFixture[str]
SIMULATION: dict[str, Any] = {"env": "SGDSim-v0", "split": "dev", "understanding": "acts"}
REWARDS: list[Any] = [*TASK_REWARD_NAMES, {"name": "task", "turn": 0.05, "milestone": 0.6}]


def _played(reward: Any, **arguments: Any) -> list[Episode]:
    found = play_episodes("acts-oracle", reward=reward, **{**SIMULATION, **arguments})
    return [msgspec.structs.replace(episode, duration_s=0.0) for episode in found]


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize("source", REWARDS, ids=str)
def test_each_reward_is_the_same_from_the_record_as_in_play(source: Any, limit: int | None) -> None:
    """Also of episodes that a limit of steps cuts off, so that they have no end."""
    arguments = {"episodes": 8, "max_episode_steps": limit}
    recorded = _played(source, **arguments)
    for target in REWARDS:
        expected = _played(target, **arguments)
        assert [rescore(each, make_task_reward(target)) for each in recorded] == expected


def test_a_failure_that_the_user_answers_is_regraded_too() -> None:
    silent: Any = ConstantPolicy("")
    [played] = play_episodes(silent, episodes=1, reward="task", **SIMULATION)
    [expected] = play_episodes(silent, episodes=1, reward="milestones", **SIMULATION)
    again = rescore(played, make_task_reward("milestones"))
    assert [turn.reward for turn in again.turns] == [turn.reward for turn in expected.turns]


@pytest.mark.parametrize("name", ["balanced", "ground_truth"])
def test_replay_rewards_on_simulated_episodes_are_refused(name: str) -> None:
    [episode] = _played("task", episodes=1)
    with pytest.raises(ValueError, match=r"was simulated, and .* choose one of task, task_success"):
        rescore(episode, make_reward(name, split="dev"))


@pytest.mark.parametrize("name", TASK_REWARD_NAMES)
def test_rewards_of_simulations_on_recorded_dialogues_are_refused(name: str) -> None:
    [episode] = play_episodes("oracle", split="dev", episodes=1)
    with pytest.raises(ValueError, match=r"is a recorded one, and .* choose a reward of SGD-v0"):
        rescore(episode, make_task_reward(name))


def test_the_environments_refuse_rewards_of_the_other_kind() -> None:
    with pytest.raises(TypeError, match=r"a method grade\(episode\)"):
        _played(make_reward("ground_truth", split="dev"), episodes=1)
    with pytest.raises(TypeError, match="score"):
        list(play_episodes("oracle", split="dev", episodes=1, reward=make_task_reward("task")))


def test_what_needs_recorded_turns_says_so() -> None:
    [episode] = _played("task", episodes=1)
    with pytest.raises(DataError, match="has no recorded turns"):
        list(closed_turns(episode))
    with pytest.raises(DataError, match="which a simulated dialogue does not have"):
        list(correction_rows(episode, 0.5))
    [beginning] = prompt_rows(episode)  # the only turn whose state the record holds
    assert (beginning.dialogue_id, beginning.turn) == (episode.dialogue_id, 0)


def test_the_command_scores_without_the_corpus(tmp_path: Path, capsys: Capture) -> None:
    file, out = tmp_path / "played.jsonl", tmp_path / "strict.jsonl"
    assert len(list(write_episodes(file, _played("task", episodes=4)))) == 4
    command = ["rescore", str(file), "--out", str(out), "--reward"]
    assert main([*command, "task_strict"]) == 0
    assert list(read_episodes(out)) == _played("task_strict", episodes=4)
    assert main([*command, "balanced"]) != 0
    assert "was simulated, and 'balanced' compares" in capsys.readouterr().err
