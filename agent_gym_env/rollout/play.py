"""Playing one policy through one dialogue, and the record of it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import gymnasium as gym
import msgspec
import numpy as np

from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.replay import Replay
from agent_gym_env.envs.spaces import is_unicode
from agent_gym_env.errors import STOPS_THE_RUN, AgentGymError, ContextExceeded
from agent_gym_env.policies.base import Policy
from agent_gym_env.rollout.episode import POLICY_FAILED, Episode, StepRecord, TurnRecord
from agent_gym_env.types import Action, Completion, Observation

_T = TypeVar("_T")


_SILENCE = Action()

Game = Generator[Observation, "Action | Exception", _T]
"""A dialogue in play: it yields observations, is sent what the policy does or the exception that
ended it, and returns the record."""


def play(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    dialogue_id: str | None = None,
    seed: int | None = None,
) -> Episode:
    """Play one dialogue.

    Args:
        env: ``SGD-v0``, bare or in wrappers that leave its observations and actions alone.
        policy: an exception that it raises is recorded. Where the policy itself has failed, and
            not the world around it, the rest of the dialogue is played in silence and scored, so
            that no score improves by failing; else the episode ends (see `is_policy_failure`).
        dialogue_id: the dialogue; ``None`` to draw one.
        seed: of the draw and of the policy.

    Raises:
        BudgetExceeded: the run has spent what it may spend; the dialogue counts as not played.
        CircuitOpenError: the provider refuses the key or is down.
    """
    return drive(episode_game(env, policy.name, dialogue_id=dialogue_id, seed=seed), policy, seed)


def episode_game(
    env: gym.Env[Any, Any], policy: str, *, dialogue_id: str | None = None, seed: int | None = None
) -> Game[Episode]:
    """Begin a dialogue; see `play`.

    Args:
        env: as in `play`.
        policy: the name of who will play.
        dialogue_id: as in `play`.
        seed: as in `play`.
    """
    begin = time.perf_counter()
    record = _Record(env)
    options = None if dialogue_id is None else {"dialogue_id": dialogue_id}
    observation, _ = env.reset(seed=seed, options=options)
    record.begin_turn(observation)
    terminated = truncated = False
    error = None
    while not (terminated or truncated):
        action = _SILENCE if error is not None else (yield observation)
        if isinstance(action, Exception):
            error = said(action)
            if not is_policy_failure(action):
                break
            action = _SILENCE
        observation, _, terminated, truncated, info = env.step(action)
        if error is not None:
            info = {**info, "action_error": POLICY_FAILED}
        record.step(action, observation, info)
    return record.episode(
        policy=policy,
        seed=seed,
        terminated=terminated,
        truncated=truncated,
        error=error,
        duration_s=time.perf_counter() - begin,
    )


def drive(game: Game[_T], policy: Policy, seed: int | None) -> _T:
    """Let a policy play a game to its end.

    Raises:
        BudgetExceeded: as in `play`.
        CircuitOpenError: as in `play`.
    """
    observation = next(game)
    action = _first_action(policy, observation, seed)
    while True:
        try:
            observation = game.send(action)
        except StopIteration as over:
            record: _T = over.value
            return record
        action = ask(policy, observation)


def _first_action(policy: Policy, observation: Observation, seed: int | None) -> Action | Exception:
    try:
        policy.reset(seed=seed)
    except STOPS_THE_RUN:
        raise
    except Exception as problem:  # noqa: BLE001  (a failed episode is a record, not a crash)
        return problem
    return ask(policy, observation)


def ask(policy: Policy, observation: Observation) -> Action | Exception:
    """Ask a policy what to do; gives the exception if it raises one.

    Raises:
        BudgetExceeded: as in `play`.
        CircuitOpenError: as in `play`.
    """
    try:
        return checked(policy.act(observation))
    except STOPS_THE_RUN:
        raise
    except Exception as problem:  # noqa: BLE001  (a failed episode is a record, not a crash)
        return problem


def checked(action: Action) -> Action | Exception:
    """Give the action, or what is wrong with it: what is no action at all is no action."""
    try:
        parse_action(action)
    except (TypeError, ValueError) as problem:
        return TypeError(str(problem))
    return action


def is_policy_failure(problem: Exception) -> bool:
    """Return whether an exception is the policy's own failure, which counts as silence.

    A conversation that exceeds the model's context is one, and so is an exception of the policy's
    code. The failure of a provider, a file or the memory says nothing about the policy, and a
    ``TypeError``, as for a value that is not an action, is a mistake in the program: what they keep
    from being played is not scored.
    """
    if isinstance(problem, AgentGymError):
        return isinstance(problem, ContextExceeded)
    return not isinstance(problem, OSError | MemoryError | TypeError)


def said(problem: Exception) -> str:
    """Write an exception as records do: ``Class: message``."""
    return _writable(f"{type(problem).__name__}: {problem}")


def play_all(
    env: gym.Env[Any, Any],
    policy: Policy,
    dialogue_ids: Iterable[str],
    *,
    seed: int = 0,
) -> Iterator[Episode]:
    """Play dialogues one after another.

    Each episode has a seed of its own, made from ``seed`` and the dialogue: a policy that draws
    does not repeat itself, and two policies on one dialogue have the same seed.
    """
    for dialogue_id in dialogue_ids:
        yield play(env, policy, dialogue_id=dialogue_id, seed=episode_seed(seed, dialogue_id))


def episode_seed(seed: int, dialogue_id: str) -> int:
    """Derive the seed of one dialogue's episode, in [0, 2**32)."""
    entropy = [seed, zlib.crc32(dialogue_id.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def bare(env: gym.Env[Any, Any]) -> SGDEnv:
    """Give the environment inside its wrappers.

    Raises:
        TypeError: it is another one than ``SGD-v0``.
    """
    inner = env.unwrapped
    if not isinstance(inner, SGDEnv):
        raise TypeError(f"episodes are recorded of SGD-v0, not of {type(inner).__name__}")
    return inner


class _Record:
    """Gathers an episode turn by turn."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = bare(env)
        self._turns: list[TurnRecord] = []
        self._steps: list[StepRecord] = []

    def begin_turn(self, observation: Observation) -> None:
        self._user = observation["user"]
        self._tools = observation["tools"]
        self._target = self._env.replay.recorded_turn()
        self._steps = []

    def step(self, action: Action, observation: Observation, info: dict[str, Any]) -> None:
        replay = self._env.replay
        self._steps.append(step_record(replay, action, observation, info))
        if replay.score is None:
            return
        self._turns.append(
            TurnRecord(
                user=self._user,
                steps=tuple(self._steps),
                target=self._target,
                reward=replay.score.value,
                components=dict(replay.score.components),
                reason=replay.score.reason,
            )
        )
        if not replay.over:
            self.begin_turn(observation)

    def episode(self, **outcome: Any) -> Episode:
        return Episode(
            **origin(self._env),
            tools=self._tools,
            turns=tuple(self._turns),
            **outcome,
        )


def origin(env: SGDEnv) -> dict[str, Any]:
    """Give what every record tells of the dialogue under way and of where it comes from."""
    task, split = env.replay.task, env.split
    seen = split.seen_services
    return {
        "dialogue_id": task.dialogue_id,
        "split": split.name,
        "corpus": split.fingerprint,
        "schema_variant": split.schema_variant,
        "services": task.services,
        "seen_services": None if seen is None else tuple(s for s in task.services if s in seen),
        "date": task.date,
        "reward": env.settings.reward.name,
    }


def step_record(
    replay: Replay, action: Action, observation: Observation, info: dict[str, Any]
) -> StepRecord:
    """Record a step that was just taken, as the environment understood it."""
    completion = _writable_completion(getattr(action, "completion", None))
    understood = msgspec.structs.replace(replay.last_action, completion=completion)
    return StepRecord(understood, observation["tool_result"], info["action_error"])


def _writable_completion(completion: Completion | None) -> Completion | None:
    if completion is None or is_unicode(completion.text):
        return completion
    return msgspec.structs.replace(completion, text=_writable(completion.text))


def _writable(text: str) -> str:
    """Replace lone surrogates, which a model can write and no file can hold."""
    return text.encode("utf-8", "replace").decode()
