"""Many dialogues at once, in step: one question to the policy for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gymnasium as gym

from agent_gym_env.errors import STOPS_THE_RUN
from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import Game, checked, episode_game, episode_seed
from agent_gym_env.types import Action

_K = TypeVar("_K")
_T = TypeVar("_T")
Env = gym.Env[Any, Any]


@dataclass(frozen=True)
class Opening(Generic[_T]):
    """A game that is to be played.

    Attributes:
        begin: begins it in an environment.
        seed: of the policy.
    """

    begin: Callable[[Env], Game[_T]]
    seed: int | None


def episode_opening(policy: str, dialogue_id: str, seed: int) -> Opening[Episode]:
    """Make the opening of an episode; see `agent_gym_env.rollout.play.play`."""
    return Opening(lambda env: episode_game(env, policy, dialogue_id=dialogue_id, seed=seed), seed)


def as_batch(policy: Policy) -> BatchPolicy:
    """Give a policy that can be asked about several conversations at once.

    Raises:
        ValueError: this one cannot.
    """
    if not isinstance(policy, BatchPolicy):
        raise ValueError(
            f"policy {policy.name!r} plays one dialogue at a time: it has no act_batch"
        )
    return policy


def play_together(
    openings: Iterable[tuple[_K, Opening[_T]]], policy: BatchPolicy, envs: Sequence[Env]
) -> Iterator[tuple[_K, _T]]:
    """Play games, as many at once as there are environments; give each record when it is there.

    The policy is asked once for all games that wait for an action. If it fails it is asked for
    each alone, so that one failure ends one game.

    Args:
        openings: the games, each with what it is known by; read as there is room for them.
        policy: has been reset.
        envs: equal to each other.

    Raises:
        BudgetExceeded: the run has spent what it may spend.
        CircuitOpenError: the provider refuses the key or is down.
    """
    waiting = iter(openings)
    free = list(envs)
    seats: list[_Seat[_K, _T]] = []
    while True:
        while free and (opening := next(waiting, None)) is not None:
            seats.append(_Seat(*opening, free.pop()))
        if not seats:
            return
        for seat, action in zip(seats, _actions(policy, seats), strict=True):
            seat.take(action)
        for seat in seats:
            if seat.is_over:
                free.append(seat.env)
                yield seat.key, seat.record
        seats = [seat for seat in seats if not seat.is_over]


def play_all_together(
    envs: Sequence[Env], policy: Policy, dialogue_ids: Iterable[str], *, seed: int = 0
) -> Iterator[Episode]:
    """Play dialogues, as many at once as there are environments; see `play.play_all`.

    Raises:
        ValueError: the policy cannot be asked about several conversations at once.
    """
    batch_policy = as_batch(policy)
    policy.reset(seed=seed)
    openings = (
        (number, episode_opening(policy.name, dialogue_id, episode_seed(seed, dialogue_id)))
        for number, dialogue_id in enumerate(dialogue_ids)
    )
    yield from in_order(play_together(openings, batch_policy, envs))


def in_order(numbered: Iterable[tuple[int, _T]]) -> Iterator[_T]:
    """Pass on what is numbered from 0 in the order of its numbers."""
    early: dict[int, _T] = {}
    expected = 0
    for number, item in numbered:
        early[number] = item
        while expected in early:
            yield early.pop(expected)
            expected += 1


class _Seat(Generic[_K, _T]):
    """A game in an environment."""

    def __init__(self, key: _K, opening: Opening[_T], env: Env) -> None:
        self.key = key
        self.seed = opening.seed
        self.env = env
        self.is_over = False
        self.record: _T
        self._game = opening.begin(env)
        self.observation = next(self._game)

    def take(self, action: Action | Exception) -> None:
        try:
            self.observation = self._game.send(action)
        except StopIteration as over:
            self.record = over.value
            self.is_over = True


def _actions(policy: BatchPolicy, seats: Sequence[_Seat[Any, Any]]) -> Sequence[Action | Exception]:
    try:
        return _ask(policy, seats)
    except STOPS_THE_RUN:
        raise
    except Exception as problem:  # noqa: BLE001  (a failed episode is a record, not a crash)
        if len(seats) == 1:
            return [problem]
        return [action for seat in seats for action in _actions(policy, [seat])]


def _ask(policy: BatchPolicy, seats: Sequence[_Seat[Any, Any]]) -> Sequence[Action | Exception]:
    observations = [seat.observation for seat in seats]
    actions = policy.act_batch(observations, seeds=[seat.seed for seat in seats])
    if len(actions) != len(seats):
        raise ValueError(f"act_batch gave {len(actions)} actions for {len(seats)} observations")
    return [checked(action) for action in actions]
