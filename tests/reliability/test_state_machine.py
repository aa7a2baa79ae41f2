"""In any order of reset, step, render, save and restore an environment keeps the turn rule."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent_gym_env.envs.dialogue import SGDEnv
from tests.reliability.playing import sized

MAX_CALLS = 2
CALLS = st.lists(
    st.sampled_from(
        [
            {"name": "FindDish", "arguments": {}},
            {"name": "NoSuchTool", "arguments": {"a": 1}},
            {"name": 7},
        ]
    ),
    max_size=3,
)
TEXTS = st.sampled_from(["", "Hello.", "Grüße \U0001f375", "\x1b[2J\u202e", "a" * 500])


class Saved(msgspec.Struct):
    """A state as JSON, and what the environment and our count of it said then."""

    state: str
    observation: dict[str, Any]
    turn: int
    calls: int


class Conversing(RuleBasedStateMachine):
    """An environment beside our own count of its turns and calls."""

    saved = Bundle("saved")

    def __init__(self) -> None:
        super().__init__()
        self.env = SGDEnv(max_tool_calls_per_turn=MAX_CALLS, render_mode="ansi")
        self.twin = SGDEnv(max_tool_calls_per_turn=MAX_CALLS)
        self.observation: dict[str, Any] = {}
        self.turn = self.calls = self.turns = 0
        self.begun = False

    @initialize()
    def nothing_is_in_play(self) -> None:
        with pytest.raises(ResetNeeded):
            self.env.step("Hello.")

    def is_over(self) -> bool:
        return self.turn == self.turns

    def begin(self, given: tuple[dict[str, Any], dict[str, Any]]) -> None:
        self.observation, info = given
        self.turns = len(self.env.replay.task.turns)
        self.begun = True
        self.check_info(info, closed=False)

    def check_info(self, info: dict[str, Any], *, closed: bool) -> None:
        assert info["turn"] == self.turn
        assert (info["target"] is not None) == closed
        assert len(info) == 8
        json.dumps(info, allow_nan=False)

    @rule(seed=st.none() | st.integers(0, 50))
    def reset(self, seed: int | None) -> None:
        self.turn = self.calls = 0
        # Without any seed yet the first draw would differ from run to run.
        self.begin(self.env.reset(seed=seed if self.begun else seed or 0))
        assert self.observation["user"]

    @precondition(lambda self: self.begun and not self.is_over())
    @rule(text=TEXTS, calls=CALLS)
    def step(self, text: str, calls: list[dict[str, Any]]) -> None:
        before = self.observation["messages"]
        given = self.env.step({"text": text, "tool_calls": calls})
        self.observation, reward, terminated, truncated, info = given
        self.calls += len(calls)
        closed = bool(text) or not calls or self.calls > MAX_CALLS
        if closed:
            self.turn, self.calls = self.turn + 1, 0
        self.check_info(info, closed=closed)
        assert (terminated, truncated) == (self.is_over(), False)
        assert 0 <= reward <= (1 if closed else 0)
        assert bool(self.observation["user"]) == (closed and not terminated)
        assert len(json.loads(self.observation["tool_result"] or "[]")) == len(calls)
        assert self.observation["messages"].startswith(before[:-1])

    @precondition(lambda self: self.begun and self.is_over())
    @rule(text=TEXTS)
    def step_after_the_end(self, text: str) -> None:
        with pytest.raises(ResetNeeded):
            self.env.step(text)

    @precondition(lambda self: self.begun)
    @rule(action=st.sampled_from([None, 7, {"reply": "Hi"}]))
    def send_what_is_no_action(self, action: Any) -> None:
        before = self.env.get_state()
        with pytest.raises((TypeError, ValueError, ResetNeeded)):
            self.env.step(action)
        assert self.env.get_state() == before

    @precondition(lambda self: self.begun)
    @rule(target=saved)
    def save(self) -> Saved:
        state = json.dumps(self.env.get_state(), allow_nan=False)
        return Saved(state, dict(self.observation), self.turn, self.calls)

    @rule(saved=saved)
    def restore(self, saved: Saved) -> None:
        self.turn, self.calls = saved.turn, saved.calls
        self.begin(self.env.set_state(json.loads(saved.state)))
        assert self.observation == saved.observation

    @precondition(lambda self: self.begun and not self.is_over())
    @rule(text=TEXTS, calls=CALLS)
    def branch(self, text: str, calls: list[dict[str, Any]]) -> None:
        action = {"text": text, "tool_calls": calls}
        state = self.env.get_state()
        self.twin.set_state(state)
        given, expected = self.twin.step(action), self.env.step(action)
        assert msgspec.json.encode(given) == msgspec.json.encode(expected)
        assert self.twin.get_state() == self.env.get_state()
        self.env.set_state(state)

    @rule()
    def close(self) -> None:
        self.env.close()

    @invariant()
    def it_can_be_rendered(self) -> None:
        if self.begun:
            shown = self.env.render()
            assert shown is not None
            assert "\x1b" not in shown

    @invariant()
    def its_observation_is_in_its_space(self) -> None:
        assert not self.begun or self.env.observation_space.contains(self.observation)


def test_any_order_of_calls_keeps_the_turn_rule() -> None:
    run_state_machine_as_test(
        Conversing,
        settings=settings(
            max_examples=sized(40, 2000),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
