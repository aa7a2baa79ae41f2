"""The promises of an environment."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from agent_gym_env.assembly import Env
from agent_gym_env.policies.oracle import Teacher
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.testing.conformance import Check, compare, excerpt
from agent_gym_env.types import Action, ToolCall


def check_env(env: str | Env, *, episodes: int = 3, seed: int = 0) -> None:
    """Check that an environment keeps the promises of ``SGD-v0``, and Gymnasium's.

    Wrappers around it are taken off.

    Args:
        env: an environment, or its id.
        episodes: how many episodes are played.
        seed: seed of the first of them.

    Raises:
        ConformanceError: a promise is broken.

    Examples:
        >>> check_env("agent_gym_env:SGD-v0")
    """
    bare: Any = (gym.make(env) if isinstance(env, str) else env).unwrapped
    check = Check("environment", type(bare).__name__)
    check.require_methods(bare, "reset", "step", "get_state", "set_state")
    _check_with_gymnasium(check, bare)
    _check_action_forms(check, bare, seed)
    for number in range(seed, seed + episodes):
        episode = _walk(check, bare, number)
        _check_repeats(check, bare, number, episode)
        _check_states(check, bare, number, episode)


_LEAST_WORDS = 4
"""A recorded reply with fewer words may occur elsewhere in a conversation by chance."""

_KEYS = {
    "dialogue_id", "turn", "services", "date",
    "reward_components", "reward_valid", "action_error", "target",
}  # fmt: skip

_ACTION_FORMS: tuple[Any, ...] = (
    "",
    "Hello.",
    "\ud800 Grüße \U0001f375",
    'One moment. <tool_call>{"name": "NoSuchTool"}</tool_call>',
    "<tool_call>{",
    {"text": "", "tool_calls": ""},
    {"text": "Hi.", "tool_calls": "[7"},
    {"text": "", "tool_calls": '[{"name": 7}]'},
    {"text": "Hi.", "tool_call": None},
    {"text": "", "tool_call": {"name": "NoSuchTool", "arguments": {"a": [None]}}},
    {"text": None, "tool_calls": [{"name": "x", "arguments": "{"}, 7, None]},
    Action("Hi."),
    Action(tool_calls=(ToolCall("NoSuchTool"),) * 20),
    {"role": "assistant", "content": "Hi."},
    {"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]},
    [{"role": "assistant", "content": "Hi."}],
    "x" * 70_000,
)  # fmt: skip


class _Given(NamedTuple):
    """The result of a step; of a reset, with ``None`` as the action."""

    action: Any
    observation: dict[str, str]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    def as_json(self) -> str:
        return json.dumps(self[1:], allow_nan=False)


def _check_with_gymnasium(check: Check, env: Any) -> None:
    promise = "passes Gymnasium's check_env without a warning"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # An environment that was not made by its id has no spec to make others from.
        check.call(promise, "", gymnasium_check_env, env, skip_render_check=env.spec is None)


def _check_action_forms(check: Check, env: Any, seed: int) -> None:
    _reset(check, env, seed)
    for action in _ACTION_FORMS:
        given = _step(check, env, action)
        if given.terminated or given.truncated:
            _reset(check, env)


def _reset(check: Check, env: Any, seed: int | None = None) -> _Given:
    observation, info = check.call("reset begins an episode", "", env.reset, seed=seed)
    return _Given(None, observation, 0.0, False, False, info)


def _step(check: Check, env: Any, action: Any, where: str = "") -> _Given:
    promise = "takes every form of an action"
    where = f"{where} action {excerpt(action)}".strip()
    return _Given(action, *check.call(promise, where, env.step, action))


def _walk(check: Check, env: Any, seed: int) -> list[_Given]:
    """Play an episode, and check each of its steps against those before it."""
    draw, uniform = random.Random(seed), UniformPolicy(seed=seed)
    episode = [_reset(check, env, seed)]
    replies: list[str] = []
    while True:
        where = f"seed {seed}, step {len(episode) - 1}"
        _check_given(check, env, episode, where)
        last = episode[-1]
        if last.terminated or last.truncated:
            break
        _check_no_leak(check, env, last, replies, where)
        recorded = env.recorded_action() if isinstance(env, Teacher) else Action("Of course.")
        due_call = recorded.tool_calls if not last.observation["tool_result"] else ()
        action = draw.choice(
            (
                Action(tool_calls=due_call) if due_call else Action(recorded.text),
                uniform.act(last.observation),
                draw.choice(_ACTION_FORMS),
            )
        )
        episode.append(_step(check, env, action, where))
        if episode[-1].info.get("turn") != last.info.get("turn"):
            replies.append(recorded.text)
    try:
        env.step("Hello?")
    except ResetNeeded:
        return episode
    check.fail("step after the end asks for a reset", "ResetNeeded", "a step", where)


def _check_given(check: Check, env: Any, episode: Sequence[_Given], where: str) -> None:
    last = episode[-1]
    inside = env.observation_space.contains(last.observation)
    promise = "observations are in their space"
    check.require(inside, promise, "a member of observation_space", last.observation, where)
    promise = "info has the keys of SGD-v0"
    check.require({*last.info} >= _KEYS, promise, f"the keys {sorted(_KEYS)}", last.info, where)
    promise = "info has the same keys at every step"
    keys, first = set(last.info), set(episode[0].info)
    check.require(keys == first, promise, f"the keys {sorted(first)}", sorted(keys), where)
    check.call("all that is given can be written as JSON", where, last.as_json)
    finite = isinstance(last.reward, float)
    check.require(finite, "the reward is a float", "a float", last.reward, where)
    if len(episode) == 1:
        _check_open(check, last, where)
        return
    before = episode[-2]
    start, messages = before.observation["messages"][:-1], last.observation["messages"]
    grows = messages.startswith(start) and len(messages) > len(start) + 1
    promise = "messages extend those of the last step"
    check.require(grows, promise, excerpt(f"a longer text that begins {start}"), messages, where)
    if last.info["turn"] == before.info["turn"]:
        _check_open(check, last, where)


def _check_open(check: Check, given: _Given, where: str) -> None:
    info = given.info
    told = {name: value for name, value in info["reward_components"].items() if value is not None}
    holds = info["target"] is None and given.reward == 0 and not told
    expected = "target None, reward 0 and every reward component None"
    found = (info["target"], given.reward, told)
    check.require(holds, "an open turn is not scored", expected, found, where)


def _check_no_leak(
    check: Check, env: Any, given: _Given, replies: Sequence[str], where: str
) -> None:
    """Search everything that the agent can see for the recorded reply of the open turn."""
    if not isinstance(env, Teacher):
        return
    reply = env.recorded_action().text
    messages = json.loads(given.observation["messages"])
    said = [message["content"] for message in messages if message["role"] == "user"]
    if len(reply.split()) < _LEAST_WORDS or any(reply in each for each in (*replies, *said)):
        return
    seen = "\n".join([*given.observation.values(), json.dumps(given.info, ensure_ascii=False)])
    told = reply in seen or json.dumps(reply, ensure_ascii=False)[1:-1] in seen
    promise = "the recorded reply is not told before the turn closes"
    check.require(not told, promise, "no trace of the reply", reply, where)


def _check_repeats(check: Check, env: Any, seed: int, episode: Sequence[_Given]) -> None:
    """Play the same actions again, and then once more while changing all that is given."""
    expected = [given.as_json() for given in episode]
    for promise, spoils in (
        ("the same seed gives the same bytes", False),
        ("observation and info are made for each step", True),
    ):
        given = _reset(check, env, seed)
        found = [given.as_json()]
        for step in episode[1:]:
            if spoils:
                _spoil(given)
            given = _step(check, env, step.action)
            found.append(given.as_json())
        compare(check, promise, found, expected, f"seed {seed}")


def _spoil(given: _Given) -> None:
    for value in given.info.values():
        if isinstance(value, (list, dict)):
            value.clear()
    given.info.clear()
    given.observation.clear()


def _state(env: Any) -> str:
    return json.dumps(env.get_state(), allow_nan=False)


def _check_states(check: Check, env: Any, seed: int, episode: Sequence[_Given]) -> None:
    """Return to states of an episode, and play on from them with the same actions."""
    promise = "set_state continues as before, byte for byte"
    expected = [given.as_json() for given in episode]
    _reset(check, env, seed)
    states = []
    for step in episode[1:]:
        states.append(check.call("states can be written as JSON", "", _state, env))
        _step(check, env, step.action)
    next_episode = _reset(check, env).as_json()
    for place in sorted({0, len(states) // 2, len(states) - 1}):
        where = f"seed {seed}, state {place}"
        restored = json.loads(states[place])
        observation, info = check.call(promise, where, env.set_state, restored)
        before = episode[place]
        same = observation == before.observation and set(info) == set(before.info)
        check.require(same, promise, excerpt(before.observation), observation, where)
        found = [_step(check, env, step.action).as_json() for step in episode[place + 1 :]]
        compare(check, promise, found, expected[place + 1 :], where)
        drawn = _reset(check, env).as_json()
        check.require(drawn == next_episode, promise, "the same next episode", "another", where)
