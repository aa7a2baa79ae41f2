"""Twenty choices are enough to solve dialogues; features and masks say what is going on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agent_gym_env.assembly import make_act_choices, make_env
from agent_gym_env.policies.act_choices import CHOICES, ActChoices, Choice
from agent_gym_env.types import Action, DialogueAct, ToolCall
from agent_gym_env.wrappers import ActAction

NUMBER = {choice: number for number, choice in enumerate(CHOICES)}


@pytest.fixture
def env() -> gym.Env[Any, Any]:
    return make_env(env="SGDSim-v0", split="dev", understanding="acts")


def begun(env: gym.Env[Any, Any], dialogue_id: str | None = None) -> ActChoices:
    """Begin a dialogue in which the user's acts are told."""
    choices = make_act_choices(env, hears="acts")
    options = None if dialogue_id is None else {"dialogue_id": dialogue_id}
    observation, _ = env.reset(seed=0, options=options)
    choices.reset()
    choices.observe(observation)
    return choices


def next_choice(choices: ActChoices, tools: Mapping[str, Any]) -> Choice:
    """Choose by a few rules, from what the choices themselves say."""
    memory, possible = choices.memory, {CHOICES[n] for n in np.flatnonzero(choices.mask())}
    heard, errand = set(memory.heard), memory.errand
    if "GOODBYE" in heard or {"THANK_YOU", "NEGATE"} <= heard:
        return "goodbye"
    news: dict[str, Choice] = {
        "done": "report_success", "counter": "counter_offer", "failed": "report_failure",
        "error": "report_failure", "empty": "report_failure", "rows": "offer_next",
    }  # fmt: skip
    if errand.is_news:
        return news[errand.outcome]
    for choice in ("request_two", "request_1st"):
        if choice in possible:
            return choice
    if "query" in possible and errand.called_with != memory.key(tools[memory.tool]):
        return "query"
    if errand.questions and "inform" in possible:
        return "inform"
    if "REQUEST_ALTS" in heard and "confirm" not in possible:
        return "offer_next" if "offer_next" in possible else "report_failure"
    if "confirm" not in possible or errand.booked is not None or errand.outcome == "counter":
        agreed = errand.outcome == "counter" and "AFFIRM" in heard
        return "write" if agreed and "write" in possible else "ask_more"
    return "write" if errand.agreed and "AFFIRM" in heard else "confirm"


def played(env: gym.Env[Any, Any], dialogue_id: str) -> Iterator[dict[str, Any]]:
    """Play a dialogue by `next_choice`; yield each info."""
    choices, over = begun(env, dialogue_id), False
    bare: Any = env.unwrapped
    while not over:
        action = choices.take(NUMBER[next_choice(choices, bare.tool_schemas())])
        observation, _, over, _, info = env.step(action)
        yield info
        if not over:
            choices.observe(observation)


def test_a_few_rules_over_the_choices_solve_most_dialogues(env: gym.Env[Any, Any]) -> None:
    bare: Any = env.unwrapped
    ids = [bare.split.dialogue_ids()[index] for index in bare.selected]
    last = [list(played(env, dialogue_id))[-1] for dialogue_id in ids]
    solved = sum(info["task"]["strict"] for info in last)
    assert solved >= 0.9 * len(ids)


def test_at_first_only_words_without_a_tool_are_possible(env: gym.Env[Any, Any]) -> None:
    choices = make_act_choices(env, hears="acts")
    assert [CHOICES[n] for n in np.flatnonzero(choices.mask())] == ["ask_more", "goodbye"]
    with pytest.raises(ValueError, match=r"choice 7, query, is not possible now; see mask\(\)"):
        choices.take(NUMBER["query"])


def test_features_are_numbers_of_one_size_between_0_and_1(env: gym.Env[Any, Any]) -> None:
    choices = begun(env)
    size = len(choices.features())
    random = np.random.default_rng(0)
    for _ in range(300):
        possible = np.flatnonzero(choices.mask())
        observation, _, over, _, _ = env.step(choices.take(int(random.choice(possible))))
        if over:
            observation, _ = env.reset()
            choices.reset()
        choices.observe(observation)
        features = choices.features()
        assert features.dtype == np.float32
        assert len(features) == size
        assert 0 <= features.min() <= features.max() <= 1


def test_a_choice_has_the_number_of_the_action_that_it_is(env: gym.Env[Any, Any]) -> None:
    choices = begun(env)
    random = np.random.default_rng(1)
    for _ in range(200):
        number = int(random.choice(np.flatnonzero(choices.mask())))
        choice = CHOICES[number]
        action = (
            Action(tool_calls=(ToolCall(choices.memory.tool, {}),))
            if choice in ("query", "write")
            else Action("Words.", acts=tuple(choices.acts(choice)))
        )
        found = choices.number_of(action)
        assert found is not None
        if choice not in ("offer_same", "request_all", "request_two"):
            assert CHOICES[found] == choice or choices.acts(CHOICES[found]) == list(action.acts)
        observation, _, over, _, _ = env.step(choices.take(number))
        if over:
            observation, _ = env.reset()
            choices.reset()
        choices.observe(observation)


def test_an_action_that_is_no_choice_has_no_number(env: gym.Env[Any, Any]) -> None:
    choices = begun(env)
    assert choices.number_of(Action(tool_calls=(ToolCall("Nobody-Knows", {}),))) is None
    assert choices.number_of(Action("?", acts=(DialogueAct("REQUEST", "nonsense"),))) is None
    assert choices.number_of(Action("Bye", acts=(DialogueAct("GOODBYE"),))) == NUMBER["goodbye"]


def test_what_was_not_understood_is_said_again_in_other_words() -> None:
    env = make_env(
        env="SGDSim-v0", split="dev", understanding="acts", user={"name": "agenda", "miss": 1.0}
    )
    choices = begun(env)
    first = choices.take(NUMBER["ask_more"])
    observation, *_ = env.step(first)
    choices.observe(observation)
    assert "UNCLEAR" in choices.memory.heard
    second = choices.take(NUMBER["ask_more"])
    assert second.acts == first.acts
    assert second.text != first.text


def test_an_agent_that_hears_words_needs_no_simulated_user() -> None:
    env = ActAction(make_env(split="dev"), make_act_choices(make_env(split="dev")))
    _, info = env.reset(seed=0)
    assert info["action_mask"].sum() > 2
    with pytest.raises(TypeError, match="SGDSim-v0; SGDEnv does not tell them"):
        make_act_choices(make_env(split="dev"), hears="acts")
