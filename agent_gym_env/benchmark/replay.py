"""Playing a recorded episode again: its actions are taken, and what followed is compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from agent_gym_env.assembly import Env
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode, StepRecord, TurnRecord
from agent_gym_env.rollout.play import play
from agent_gym_env.types import Action, Observation

MOST_DIFFERENCES = 5
"""Largest number of differences that are listed for an episode."""

_SAME, _SAME_END = 1e-9, 1e-6
"""Largest difference of equal numbers, and of the ends of equal intervals: another machine rounds
the sums of a bootstrap in another way."""

_UNREAD = ("malformed_tool_call", "tool_calls_too_long", "tool_call_too_deep")
"""Codes of calls that could not be read, of which a record has the name only."""

_NOT_COMPARED = ("policy", "duration_s", "error", "format", "turns")
"""Fields of an episode that are not a consequence of its actions, and the turns."""


def replay_problems(env: Env, episode: Episode) -> Iterator[str]:
    """Play the actions of an episode again, and yield each difference with its place.

    Args:
        env: environment in which the episode was played.
        episode: the recorded episode.
    """
    player = _RecordedActions(episode)
    again = play(env, player, dialogue_id=episode.dialogue_id, seed=episode.seed)
    yield from islice(differences(_comparable(episode), _comparable(again)), MOST_DIFFERENCES)


def differences(found: Any, expected: Any, place: str = "") -> Iterator[str]:
    """Yield the differences of two JSON values, each with its place.

    Args:
        found: the value that is checked.
        expected: the value that it should have.
        place: place of the value.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted(found.keys() | expected.keys()):
            inside = found.get(name), expected.get(name)
            yield from differences(*inside, f"{place}.{name}")
    elif isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        if len(found) != len(expected):
            yield f"{place}: {len(found)} items, expected {len(expected)}"
        for number, inside in enumerate(zip(found, expected, strict=False)):
            yield from differences(*inside, f"{place}[{number}]")
    elif not _is_same(found, expected, place):
        yield f"{place}: {_shown(found)}, expected {_shown(expected)}"


def _is_same(found: Any, expected: Any, place: str) -> bool:
    numbers = [type(each) in (int, float) for each in (found, expected)]
    if not all(numbers):
        return type(found) is type(expected) and bool(found == expected)
    close = _SAME_END if place.endswith((".low", ".high")) else _SAME
    return math.isclose(found, expected, rel_tol=close, abs_tol=close)


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:80]}…"


class _RecordedActions:
    """Policy that takes the actions of a recorded episode, in order.

    Args:
        episode: the episode.
    """

    name = "recorded actions"

    def __init__(self, episode: Episode) -> None:
        self._steps = [step for turn in episode.turns for step in turn.steps]
        self._next = 0

    def reset(self, *, seed: int | None = None) -> None:
        """Begin at the first action."""
        self._next = 0

    def act(self, observation: Observation) -> Any:
        """Return the next action.

        Raises:
            DataError: there are no more actions; the episode breaks off there.
        """
        if self._next == len(self._steps):
            raise DataError("the recorded episode has no further action")
        self._next += 1
        return _action(self._steps[self._next - 1])


def _action(step: StepRecord) -> Action | Mapping[str, Any]:
    """Return an action that has the effect of a recorded one."""
    action = step.action
    unread = [_code(each) in _UNREAD for each in _results(step)]
    if not any(unread):
        return Action(action.text, action.tool_calls, acts=action.acts)
    calls = [
        # Arguments that are a list are refused, as those were that could not be read.
        {"name": call.name, "arguments": [] if is_unread else call.arguments}
        for call, is_unread in zip(action.tool_calls, unread, strict=False)
    ]
    acts = {"acts": action.acts} if action.acts else {}
    return {"text": action.text, "tool_calls": msgspec.json.encode(calls).decode(), **acts}


def _results(step: StepRecord) -> list[Any]:
    if not step.tool_result:
        return []
    try:
        found = msgspec.json.decode(step.tool_result)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"a tool result is not JSON: {error}") from error
    return found if isinstance(found, list) else [found]


def _code(result: Any) -> str:
    error = result.get("error") if isinstance(result, Mapping) else None
    return error.partition(":")[0] if isinstance(error, str) else ""


def _comparable(episode: Episode) -> dict[str, Any]:
    """Return what follows from the actions of an episode, as JSON values."""
    fields = {
        name: msgspec.to_builtins(getattr(episode, name))
        for name in Episode.__struct_fields__
        if name not in _NOT_COMPARED
    }
    return {**fields, "turns": [_comparable_turn(turn) for turn in episode.turns]}


def _comparable_turn(turn: TurnRecord) -> dict[str, Any]:
    return {
        "user": turn.user,
        "steps": [_comparable_step(step) for step in turn.steps],
        "target": msgspec.to_builtins(turn.target),
        "reward": turn.reward,
        "components": msgspec.to_builtins(turn.components),
        "simulated": msgspec.to_builtins(turn.simulated),
    }


def _comparable_step(step: StepRecord) -> dict[str, Any]:
    action = step.action
    return {
        "text": action.text,
        "tool_calls": msgspec.to_builtins(action.tool_calls),
        "acts": msgspec.to_builtins(action.acts),
        "tool_result": [_comparable_result(each) for each in _results(step)],
    }


def _comparable_result(result: Any) -> Any:
    """Return a result; of a call that could not be read only its name and code."""
    code = _code(result)
    return {"name": result.get("name"), "error": code} if code in _UNREAD else result
