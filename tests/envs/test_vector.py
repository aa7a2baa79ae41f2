"""The vector environment takes what Gymnasium's take, and says what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from agent_gym_env.envs.vector import SGDSimVectorEnv, SGDVectorEnv
from agent_gym_env.errors import LMError
from agent_gym_env.types import Action
from agent_gym_env.users.wording import ActsToSay, UserWords
from tests.corpora import TRAIN

TEA, BLACK, MIXED = (dialogue.dialogue_id for dialogue in TRAIN)
FIND = '[{"name": "FindTea", "arguments": {"kind": "green"}}]'
Make = Callable[..., SGDVectorEnv]


@pytest.fixture
def make(tiny_corpus: Path) -> Make:
    """Make vector environments over the tiny corpus."""

    def make_vector(num_envs: int = 3, **arguments: Any) -> SGDVectorEnv:
        return SGDVectorEnv(num_envs, corpus=str(tiny_corpus), **arguments)

    return make_vector


def in_dialogue(envs: SGDVectorEnv, dialogue_id: str) -> None:
    envs.reset(seed=0, options={"dialogue_id": dialogue_id})


def say(envs: SGDVectorEnv, *texts: str) -> Any:
    return envs.step({"text": texts, "tool_calls": ("",) * len(texts)})


def test_observations_are_in_the_batched_space(make: Make) -> None:
    envs = make()
    observation, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observation)
    observation, *_ = envs.step(envs.action_space.sample())
    assert envs.observation_space.contains(observation)


def test_a_step_gives_arrays_of_gymnasium_s_types(make: Make) -> None:
    envs = make()
    envs.reset(seed=0)
    _, rewards, terminated, truncated, _ = say(envs, "a", "b", "c")
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    assert rewards.shape == terminated.shape == truncated.shape == (3,)


def test_dialogue_i_is_seeded_with_seed_plus_i(make: Make) -> None:
    together = make().reset(seed=7)[1]["dialogue_id"]
    alone = [make(1).reset(seed=7 + place)[1]["dialogue_id"][0] for place in range(3)]
    assert list(together) == alone


def test_each_dialogue_can_have_its_own_seed(make: Make) -> None:
    infos = make().reset(seed=[7, None, 7])[1]
    assert infos["dialogue_id"][0] == infos["dialogue_id"][2]


def test_every_dialogue_draws_for_itself(make: Make) -> None:
    envs = make(8)
    envs.reset(seed=0)
    drawn = {tuple(envs.reset()[1]["dialogue_id"]) for _ in range(10)}
    assert len(drawn) == 10
    assert all(len(set(ids)) > 1 for ids in drawn)


def test_options_reach_every_dialogue(make: Make) -> None:
    assert list(make().reset(options={"dialogue_id": MIXED})[1]["dialogue_id"]) == [MIXED] * 3


def test_actions_may_come_in_any_form_of_the_single_environment(make: Make) -> None:
    envs = make()
    in_dialogue(envs, TEA)
    observation, *_ = envs.step([Action("Hi"), "Hi", {"text": "Hi", "tool_call": None}])
    assert observation["user"] == ("Send me 50 grams.",) * 3


def test_calls_and_texts_go_to_their_own_dialogue(make: Make) -> None:
    envs = make()
    in_dialogue(envs, TEA)
    observation, *_, infos = envs.step({"text": ("", "Hi", ""), "tool_calls": (FIND, "", "")})
    assert observation["user"] == ("", "Send me 50 grams.", "Send me 50 grams.")
    assert [bool(result) for result in observation["tool_result"]] == [True, False, False]
    assert infos["turn"].tolist() == [0, 1, 1]


def test_a_dialogue_that_ends_begins_anew_in_the_same_step(make: Make) -> None:
    envs = make(2)
    in_dialogue(envs, BLACK)
    say(envs, "a", "b")
    observation, _, terminated, _, infos = say(envs, "c", "d")
    assert terminated.tolist() == [True, True]
    assert infos["turn"].tolist() == [0, 0]
    assert [json.loads(messages)[-1]["role"] for messages in observation["messages"]] == [
        "user"
    ] * 2
    assert [final["user"] for final in infos["final_obs"]] == ["", ""]
    assert infos["final_info"]["turn"].tolist() == [2, 2]
    assert infos["_final_info"].tolist() == [True, True]


def test_final_observation_and_info_are_only_there_when_a_dialogue_has_ended(make: Make) -> None:
    envs = make(2, max_episode_steps=2)
    in_dialogue(envs, TEA)
    assert "final_obs" not in say(envs, "a", "b")[4]
    assert "final_obs" in say(envs, "a", "b")[4]


def test_a_time_limit_truncates(make: Make) -> None:
    envs = make(2, max_episode_steps=2)
    in_dialogue(envs, TEA)
    assert say(envs, "a", "b")[3].tolist() == [False, False]
    _, _, terminated, truncated, _ = say(envs, "a", "b")
    assert (terminated.tolist(), truncated.tolist()) == ([False, False], [True, True])


def test_next_step_mode_ignores_the_action_after_the_end(make: Make) -> None:
    envs = make(1, autoreset_mode=AutoresetMode.NEXT_STEP)
    in_dialogue(envs, BLACK)
    say(envs, "a")
    observation, _, terminated, _, infos = say(envs, "b")
    assert (observation["user"], terminated.tolist()) == (("",), [True])
    assert "final_obs" not in infos
    observation, rewards, terminated, _, infos = say(envs, "ignored")
    assert "ignored" not in observation["messages"][0]
    assert (rewards.tolist(), terminated.tolist(), infos["turn"].tolist()) == ([0.0], [False], [0])


def test_disabled_mode_waits_for_a_reset_of_those_that_ended(make: Make) -> None:
    envs = make(2, autoreset_mode="Disabled")
    envs.reset(options={"dialogue_id": BLACK})
    envs.reset(options={"dialogue_id": TEA, "reset_mask": np.array([True, False])})
    say(envs, "a", "b")
    assert say(envs, "c", "d")[2].tolist() == [False, True]
    with pytest.raises(ValueError, match=r"dialogues \[1\] have ended"):
        say(envs, "e", "f")
    observation, infos = envs.reset(options={"reset_mask": np.array([False, True])})
    assert infos["_turn"].tolist() == [False, True]
    assert len(json.loads(observation["messages"][0])) == 5
    say(envs, "e", "f")


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        ([True, True, True], TypeError),
        (np.ones(3), TypeError),
        (np.ones(2, np.bool_), ValueError),
        (np.zeros(3, np.bool_), ValueError),
    ],
)
def test_a_reset_mask_is_one_boolean_for_each_dialogue(
    make: Make, mask: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="reset_mask"):
        make().reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    "actions",
    [
        ["Hi", "Hi"],
        {"text": ("Hi", "Hi"), "tool_calls": ("", "")},
        {"text": ("Hi", "Hi", "Hi"), "tool_calls": ("", "")},
        {"text": ("Hi", "Hi", "Hi")},
    ],
)
def test_there_is_one_action_for_each_dialogue(make: Make, actions: Any) -> None:
    envs = make()
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="actions"):
        envs.step(actions)


def test_there_is_one_seed_for_each_dialogue(make: Make) -> None:
    with pytest.raises(ValueError, match="2 seeds for 3 dialogues"):
        make().reset(seed=[1, 2])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"max_episode_steps": 0}, "max_episode_steps must be at least 1"),
        ({"autoreset_mode": "Sometimes"}, "Sometimes"),
    ],
)
def test_a_wrong_argument_says_what_is_expected(
    make: Make, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        make(**arguments)


def test_infos_are_arrays_with_a_mask(make: Make) -> None:
    infos = make().reset(seed=0)[1]
    assert infos["turn"].dtype == np.int64
    assert infos["reward_valid"].dtype == np.bool_
    assert infos["_turn"].tolist() == [True] * 3
    components = infos["reward_components"]
    assert components["response_similarity"].tolist() == [None] * 3
    assert components["_response_similarity"].tolist() == [True] * 3


def test_every_dialogue_can_be_rendered_and_asked(make: Make) -> None:
    envs = make(render_mode="ansi")
    in_dialogue(envs, TEA)
    assert all("I want a green tea." in (shown or "") for shown in envs.render())
    assert [state["dialogue_id"] for state in envs.call("get_state")] == [TEA] * 3
    assert envs.call("render_mode") == ("ansi",) * 3


def test_gymnasium_s_vector_wrappers_compose(make: Make) -> None:
    envs = RecordEpisodeStatistics(make(2))
    envs.reset(seed=0, options={"dialogue_id": BLACK})
    action = {"text": ("a", "b"), "tool_calls": ("", "")}
    envs.step(action)
    *_, infos = envs.step(action)
    assert infos["episode"]["l"].tolist() == [2, 2]


def test_a_column_of_single_calls_is_not_lost(make: Make) -> None:
    envs = make(1)
    in_dialogue(envs, TEA)
    call = json.loads(FIND)[0]
    _, _, _, _, infos = envs.step({"text": [""], "tool_calls": [""], "tool_call": [call]})
    together = list(infos["turn"]), list(infos["action_error"])
    assert together == ([0], [None])


class _FailsLater:
    """A user whose language model answers once in each dialogue."""

    def words(self, said: ActsToSay) -> UserWords:
        if said.answered:
            raise LMError("no answer")
        return UserWords("Hello.", "model")


def test_a_dialogue_that_broke_off_takes_no_step_until_it_is_reset() -> None:
    envs = SGDSimVectorEnv(2, split="dev", understanding="acts", user=_FailsLater())
    envs.reset(seed=0)
    with pytest.raises(LMError, match="no answer"):
        envs.step(["What else?"] * 2)
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step(["What else?"] * 2)
    envs.reset(seed=0)
    envs.step([Action(tool_calls=())] * 2)
