"""A session plays as its environment does, and goes back to a snapshot."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import msgspec
import pytest
from gymnasium.error import ResetNeeded

from agent_gym_env.errors import DataError
from agent_gym_env.server.session import Session

ACTIONS: list[Any] = [
    "Which city do you prefer?",
    {"text": "", "tool_calls": '[{"name": "Nothing", "arguments": {}}]'},
    {"text": "Done.", "tool_calls": ""},
    {"role": "assistant", "content": "Anything else?"},
]
ENVS = ["SGD-v0", "SGDSim-v0"]


def _bytes(reply: Any) -> bytes:
    return msgspec.json.encode(reply)


@pytest.mark.parametrize("env_id", ENVS)
def test_the_replies_are_those_of_the_environment(env_id: str) -> None:
    session = Session(env_id, {"split": "dev", "max_episode_steps": 3})
    env = gym.make(f"agent_gym_env:{env_id}", split="dev", max_episode_steps=3)
    observation, info = env.reset(seed=5)
    reply = session.reset(seed=5)
    assert (reply.observation, reply.reward, reply.info) == (observation, None, info)
    for action in ACTIONS[:3]:
        reply = session.step(action)
        expected = env.step(action)
        assert _bytes(msgspec.structs.astuple(reply)) == _bytes(expected)
    assert reply.truncated
    with pytest.raises(ResetNeeded):
        session.step("Hello?")


@pytest.mark.parametrize("env_id", ENVS)
def test_a_snapshot_that_went_through_json_is_returned_to(env_id: str) -> None:
    session = Session(env_id, {"split": "dev"})
    session.reset(seed=1)
    session.step(ACTIONS[0])
    state = msgspec.json.decode(msgspec.json.encode(session.state()))
    ahead = [_bytes(session.step(action)) for action in ACTIONS[1:]]
    other = Session(env_id, {"split": "dev"})
    assert _bytes(other.set_state(state)) == _bytes(state["reply"])
    assert other.steps == 1
    assert [_bytes(other.step(action)) for action in ACTIONS[1:]] == ahead


def test_what_is_not_a_snapshot_is_refused_and_changes_nothing() -> None:
    session = Session("SGD-v0", {"split": "dev"})
    before = session.reset(seed=1)
    good = msgspec.to_builtins(session.state())
    session.step("Hello.")
    for wrong in (
        {},
        {**good, "version": 2},
        {**good, "environment": {}},
        {**good, "reply": {**good["reply"], "observation": {"user": "another"}}},
    ):
        with pytest.raises(ValueError, match="state"):
            session.set_state(wrong)
        again = session.state()
        assert again.steps == 1
    after = session.step("Goodbye.")
    session.set_state(again)
    assert session.step("Goodbye.") == after
    assert session.set_state(good) == before


def test_a_session_that_cannot_be_opened_or_played_says_why() -> None:
    with pytest.raises(ValueError, match="env must be"):
        Session("SGD-v1")
    with pytest.raises(ValueError, match="has no option 'spilt'"):
        Session("SGD-v0", {"spilt": "dev"})
    with pytest.raises(ValueError, match="max_episode_steps"):
        Session("SGD-v0", {"max_episode_steps": 0})
    session = Session("SGD-v0")
    for call in (session.state, lambda: session.step("Hello.")):
        with pytest.raises(ResetNeeded):
            call()
    with pytest.raises(DataError):
        session.reset(options={"dialogue_id": "nowhere"})
    with pytest.raises(ValueError, match="render_mode"):
        session.render()


def test_a_session_renders_the_conversation() -> None:
    session = Session("SGD-v0", {"render_mode": "ansi"})
    session.reset(seed=0)
    session.step("Which city do you prefer?")
    assert "Which city do you prefer?" in session.render()
    session.close()
