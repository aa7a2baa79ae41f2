"""Playing many dialogues in lockstep: the policy is asked about all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gymnasium as gym

from agent_gym_env.errors import STOPS_THE_RUN
from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import (
    EpisodeGenerator,
    episode_seed,
    start_episode,
    validate_action,
)
from agent_gym_env.types import Action, Observation

_K = TypeVar("_K")
_T = TypeVar("_T")
Env = gym.Env[Any, Any]


@dataclass(frozen=True)
class Planned(Generic[_T]):
    """An episode or a branch that is still to be played.

    Attributes:
        start: function that starts it in an environment.
        seed: seed of the policy.
    """

    start: Callable[[Env], EpisodeGenerator[_T]]
    seed: int | None


def planned_episode(policy: str, dialogue_id: str, seed: int) -> Planned[Episode]:
    """Plan an episode; see `agent_gym_env.rollout.play.play`."""
    return Planned(lambda env: start_episode(env, policy, dialogue_id=dialogue_id, seed=seed), seed)


def as_batch(policy: Policy) -> BatchPolicy:
    """Check that a policy can be asked about several conversations at once, and return it.

    Raises:
        ValueError: the policy has no ``act_batch``.
    """
    if not isinstance(policy, BatchPolicy):
        raise ValueError(
            f"policy {policy.name!r} plays one dialogue at a time: it has no act_batch"
        )
    return policy


def play_together(
    planned: Iterable[tuple[_K, Planned[_T]]], policy: BatchPolicy, envs: Sequence[Env]
) -> Iterator[tuple[_K, _T]]:
    """Play episodes or branches, one per environment at a time; yield each record when it is done.

    The policy is asked once for all that wait for an action. If it raises an exception it is asked
    about each alone, so that a failure ends only one of them.

    Args:
        planned: episodes or branches, each with its key; read when an environment is free.
        policy: policy that was reset.
        envs: equal environments.

    Raises:
        BudgetExceeded: the run has spent its budget.
        CircuitOpenError: the provider refuses the key or is down.
    """
    waiting = iter(planned)
    free = list(envs)
    playing: list[_Playing[_K, _T]] = []
    while True:
        while free and (following := next(waiting, None)) is not None:
            playing.append(_Playing(*following, free.pop()))
        if not playing:
            return
        waits = [each for each in playing if not each.is_over]
        for each, action in zip(waits, _actions(policy, waits) if waits else (), strict=True):
            each.take(action)
        for each in playing:
            if each.is_over:
                free.append(each.env)
                yield each.key, each.record
        playing = [each for each in playing if not each.is_over]


def play_all_together(
    envs: Sequence[Env],
    policy: Policy,
    dialogue_ids: Iterable[str],
    *,
    seed: int = 0,
    trials: int = 1,
) -> Iterator[Episode]:
    """Play dialogues, one per environment at a time; see `agent_gym_env.rollout.play.play_all`.

    Raises:
        ValueError: the policy has no ``act_batch``.
    """
    batch_policy = as_batch(policy)
    policy.reset(seed=seed)
    episodes = (
        planned_episode(policy.name, dialogue_id, episode_seed(seed, dialogue_id, trial))
        for dialogue_id in dialogue_ids
        for trial in range(trials)
    )
    yield from in_order(play_together(enumerate(episodes), batch_policy, envs))


def in_order(numbered: Iterable[tuple[int, _T]]) -> Iterator[_T]:
    """Yield items that are numbered from 0, in the order of their numbers."""
    early: dict[int, _T] = {}
    expected = 0
    for number, item in numbered:
        early[number] = item
        while expected in early:
            yield early.pop(expected)
            expected += 1


class _Playing(Generic[_K, _T]):
    """An episode or a branch that is being played in an environment."""

    def __init__(self, key: _K, planned: Planned[_T], env: Env) -> None:
        self.key = key
        self.seed = planned.seed
        self.env = env
        self.is_over = False
        self.record: _T
        self._generator = planned.start(env)
        self._go_on(lambda: next(self._generator))

    def take(self, action: Action | Exception) -> None:
        self._go_on(lambda: self._generator.send(action))

    def _go_on(self, step: Callable[[], Observation]) -> None:
        try:
            self.observation = step()
        except StopIteration as end:
            self.record = end.value
            self.is_over = True


def _actions(
    policy: BatchPolicy, playing: Sequence[_Playing[Any, Any]]
) -> Sequence[Action | Exception]:
    try:
        return _ask(policy, playing)
    except STOPS_THE_RUN:
        raise
    except Exception as problem:  # noqa: BLE001  (a failed episode is a record, not a crash)
        if len(playing) == 1:
            return [problem]
        return [action for each in playing for action in _actions(policy, [each])]


def _ask(
    policy: BatchPolicy, playing: Sequence[_Playing[Any, Any]]
) -> Sequence[Action | Exception]:
    observations = [each.observation for each in playing]
    actions = policy.act_batch(observations, seeds=[each.seed for each in playing])
    if len(actions) != len(playing):
        raise ValueError(
            f"act_batch returned {len(actions)} actions for {len(playing)} observations"
        )
    return [validate_action(action) for action in actions]
