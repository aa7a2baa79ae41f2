"""Each promise of an environment is checked: one that breaks it is refused by its name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.testing import ConformanceError, check_env

Stepped = tuple[dict[str, str], float, bool, bool, dict[str, Any]]


class Changed(SGDEnv):
    """``SGD-v0``, with one thing about its steps changed."""

    def change(self, stepped: Stepped) -> Any:
        """Change what a step gives."""
        return stepped

    def step(self, action: Any) -> Stepped:
        changed: Stepped = self.change(super().step(action))
        return changed


class NoStates(gym.Env[Any, Any]):
    """Cannot be returned to a state."""


class Warning_(SGDEnv):  # noqa: N801
    """Environment with an action space that Gymnasium warns about."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Box(-100.0, 7.0, (2,), np.float32)


class Once(SGDEnv):
    """Draws no further dialogue after the first one has been played."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is None and self._replay is not None and self._replay.over:
            raise StopIteration("all dialogues are played")
        return super().reset(seed=seed, options=options)


class Strict(SGDEnv):
    """Raises for a call that is not well formed."""

    def step(self, action: Any) -> Stepped:
        stepped = super().step(action)
        if stepped[-1]["action_error"] is not None and not isinstance(action, Mapping):
            raise ValueError(stepped[-1]["action_error"])
        return stepped


class Unicode(Changed):
    """Ends each dialogue with what no file can hold; Gymnasium's checker takes one step only."""

    def change(self, stepped: Stepped) -> Any:
        observation, reward, terminated, *others = stepped
        user = "\ud800" if terminated else observation["user"]
        return {**observation, "user": user}, reward, terminated, *others


class OtherKeys(Changed):
    def change(self, stepped: Stepped) -> Any:
        *others, info = stepped
        return *others, {**info, "outcome": "done"}


class Dateless(Changed):
    def change(self, stepped: Stepped) -> Any:
        *others, info = stepped
        return *others, {key: value for key, value in info.items() if key != "date"}


class NotJSON(Changed):
    def change(self, stepped: Stepped) -> Any:
        *others, info = stepped
        services = info["services"] if info["turn"] < 2 else set(info["services"])
        return *others, {**info, "services": services}


class NotANumber(Changed):
    """Environment with a reward of NaN at the end of the dialogue."""

    def change(self, stepped: Stepped) -> Any:
        observation, reward, terminated, *others = stepped
        return observation, float("nan") if terminated else reward, terminated, *others


class WholeNumbers(Changed):
    def change(self, stepped: Stepped) -> Any:
        observation, reward, *others = stepped
        return observation, round(reward), *others


class Forgetting(Changed):
    """Shows the last messages only."""

    def change(self, stepped: Stepped) -> Any:
        observation, *others = stepped
        return {**observation, "messages": observation["messages"][:-1][-200:] + "]"}, *others


class Telling(Changed):
    """Environment whose info reveals the target while the turn is open."""

    def change(self, stepped: Stepped) -> Any:
        *others, info = stepped
        return *others, {**info, "target": info["target"] or []}


class Paying(Changed):
    """Pays for each call."""

    def change(self, stepped: Stepped) -> Any:
        observation, reward, *others = stepped
        return observation, reward or 0.1, *others


class Whispering(SGDEnv):
    """Names the recorded reply among the services."""

    def step(self, action: Any) -> Stepped:
        observation, reward, terminated, truncated, info = super().step(action)
        if not terminated:
            info["services"].append(self.recorded_action().text)
        return observation, reward, terminated, truncated, info


class Endless(SGDEnv):
    """Repeats its last step after the end."""

    def step(self, action: Any) -> Stepped:
        if not self.replay.over:
            self.last = super().step(action)
        return self.last


class Drawing(Changed):
    """Draws from a generator that the seed does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = itertools.count()

    def change(self, stepped: Stepped) -> Any:
        *others, info = stepped
        # Gymnasium's checker compares observations and rewards, and infos after the first step.
        return *others, {**info, "date": f"{next(self.draws) // 25}"}


class Sharing(Changed):
    """Hands out one and the same list of services."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[str]] = {}

    def change(self, stepped: Stepped) -> Any:
        *others, info = stepped
        services = self.lists.setdefault(info["dialogue_id"], info["services"])
        return *others, {**info, "services": services}


class Unwritable(SGDEnv):
    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "generator": self.np_random}


class Losing(SGDEnv):
    """Begins the dialogue again instead of going on in it."""

    def set_state(self, state: Any) -> Any:
        return self.reset(options={"dialogue_id": state["dialogue_id"]})


class Redrawing(SGDEnv):
    """Does not bring the generator back."""

    def set_state(self, state: Any) -> Any:
        return super().set_state({**state, "random": ""})


BROKEN: list[tuple[str, Callable[[], Any]]] = [
    ("has the methods of its protocol", NoStates),
    ("passes Gymnasium's check_env without a warning", Warning_),
    ("reset begins an episode", Once),
    ("takes every form of an action", Strict),
    ("observations are in their space", Unicode),
    ("info has the same keys at every step", OtherKeys),
    ("info has the keys of SGD-v0", Dateless),
    ("all that is given can be written as JSON", NotJSON),
    ("all that is given can be written as JSON", NotANumber),
    ("the reward is a float", WholeNumbers),
    ("messages extend those of the last step", Forgetting),
    ("an open turn is not scored", Telling),
    ("an open turn is not scored", Paying),
    ("the recorded reply is not told before the turn closes", Whispering),
    ("step after the end asks for a reset", Endless),
    ("the same seed gives the same bytes", Drawing),
    ("observation and info are made for each step", Sharing),
    ("states can be written as JSON", Unwritable),
    ("set_state continues as before, byte for byte", Losing),
    ("set_state continues as before, byte for byte", Redrawing),
]


@pytest.mark.parametrize(("promise", "broken"), BROKEN)
def test_a_broken_promise_is_named(promise: str, broken: Callable[[], Any]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_env(broken())
    assert caught.value.promise == promise


def test_an_environment_that_keeps_its_promises_passes() -> None:
    check_env(Changed())


def test_an_environment_can_be_named_by_its_id() -> None:
    check_env("agent_gym_env:SGD-v0", episodes=1)
