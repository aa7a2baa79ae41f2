"""A turn is tried as often as was asked, and goes on from the last try."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gymnasium.wrappers import TimeLimit

from agent_gym_env.wrappers import CandidateAction, TurnEpisodes
from tests.corpora import FIND_TEA, TRAIN
from tests.wrappers.conftest import Make
from tests.wrappers.scripted_source import ScriptedSource

TEA, BLACK, _ = (dialogue.dialogue_id for dialogue in TRAIN)
FIND_GREEN = {
    "text": "",
    "tool_calls": json.dumps([{"name": FIND_TEA, "arguments": {"kind": "green"}}]),
}


def say(text: str) -> dict[str, str]:
    return {"text": text, "tool_calls": ""}


def said(observation: dict[str, str]) -> list[Any]:
    """Return the agent's replies so far."""
    messages = json.loads(observation["messages"])
    return [message["content"] for message in messages if message["role"] == "assistant"]


def test_a_closed_turn_ends_the_episode_and_a_call_does_not(make: Make) -> None:
    env = TurnEpisodes(make(), tries=1)
    env.reset(options={"dialogue_id": TEA})
    assert env.step(FIND_GREEN)[2:4] == (False, False)
    assert env.step(say("Sencha."))[2:4] == (True, False)


def test_each_turn_is_tried_and_the_last_try_counts(make: Make) -> None:
    env = TurnEpisodes(make(), tries=3)
    first, _ = env.reset(options={"dialogue_id": TEA})
    for words in ("One.", "Two."):
        env.step(say(words))
        assert env.reset()[0] == first
    env.step(say("Three."))
    observation, info = env.reset()
    assert (said(observation), info["turn"]) == (["Three."], 1)


def test_a_try_that_was_given_up_leaves_nothing_of_the_one_before(make: Make) -> None:
    env = TurnEpisodes(make(), tries=2)
    env.reset(seed=0, options={"dialogue_id": TEA})
    env.step(say("One."))
    env.reset()
    observation, info = env.reset()
    bare: Any = env.unwrapped
    assert (observation, info) == bare.set_state(bare.get_state())
    assert (said(observation), info["turn"]) == ([], 0)


def test_a_call_is_undone_with_its_try(make: Make) -> None:
    env = TurnEpisodes(make(), tries=2)
    first, _ = env.reset(options={"dialogue_id": TEA})
    env.step(FIND_GREEN)
    env.step(say("Sencha."))
    assert env.reset()[0] == first
    observation, *_ = env.step(FIND_GREEN)
    assert json.loads(observation["tool_result"])[0]["status"] == "success"


def test_after_the_last_turn_another_dialogue_begins(make: Make) -> None:
    env = TurnEpisodes(make(), tries=2)
    env.reset(seed=0, options={"dialogue_id": BLACK})
    for _ in range(2 * 2):
        _, _, terminated, truncated, _ = env.step(say("Assam."))
        assert (terminated, truncated) == (True, False)
        observation, info = env.reset()
    assert (said(observation), info["turn"]) == ([], 0)


def test_a_seed_begins_another_dialogue_at_once(make: Make) -> None:
    env = TurnEpisodes(make(), tries=5)
    env.reset(options={"dialogue_id": BLACK})
    env.step(say("Assam."))
    assert said(env.reset(seed=1)[0]) == []


def test_its_state_brings_back_the_tries(make: Make) -> None:
    env, other = TurnEpisodes(make(), tries=2), TurnEpisodes(make(), tries=2)
    env.reset(seed=0, options={"dialogue_id": TEA})
    env.step(FIND_GREEN)
    other.reset(seed=5)
    observation, _ = other.set_state(json.loads(json.dumps(env.get_state())))
    assert "Gyokuro" in observation["tool_result"]
    for each in (env, other):
        each.step(say("Sencha."))
    for _ in range(6):
        assert env.reset() == other.reset()
        env.step(say("Well.")), other.step(say("Well."))


@pytest.mark.parametrize("changes", [{"left": "x"}, {"left": -1}, {"begin": {}}, {"env": {}}])
def test_another_value_is_refused_at_once(make: Make, changes: dict[str, Any]) -> None:
    env = TurnEpisodes(make(), tries=2)
    env.reset(options={"dialogue_id": TEA})
    with pytest.raises(ValueError, match=r"not an? .* state"):
        env.set_state({**env.get_state(), **changes})


def test_a_time_limit_goes_outside(make: Make) -> None:
    with pytest.raises(TypeError, match="put the TimeLimit around TurnEpisodes"):
        TurnEpisodes(make(max_episode_steps=5))
    env = TimeLimit(TurnEpisodes(make(), tries=2), max_episode_steps=1)
    env.reset(options={"dialogue_id": TEA})
    for _ in range(3):
        assert env.step(FIND_GREEN)[2:4] == (False, True)
        env.reset()


def test_the_choice_among_candidates_goes_outside(make: Make) -> None:
    with pytest.raises(
        TypeError, match=r"TurnEpisodes wraps .* action space is a Dict .* Discrete"
    ):
        TurnEpisodes(CandidateAction(make(), ScriptedSource(), k=4))


def test_there_is_at_least_one_try(make: Make) -> None:
    with pytest.raises(ValueError, match="tries must be at least 1"):
        TurnEpisodes(make(), tries=0)
