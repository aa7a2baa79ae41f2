"""Playing the open turn more than once from one state: where preference pairs come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.base import Policy
from agent_gym_env.rollout.branches import Branch, BranchPoint
from agent_gym_env.rollout.episode import StepRecord
from agent_gym_env.rollout.play import Game, ask, origin, said, step_record
from agent_gym_env.types import Observation


class State(NamedTuple):
    """A state on the way through a dialogue.

    Attributes:
        turn: how many turns had closed.
        step: how many steps the open turn had taken.
        observation: what was seen there.
        snapshot: of the environment.
    """

    turn: int
    step: int
    observation: Observation
    snapshot: dict[str, Any]


class Walk(NamedTuple):
    """A way through a dialogue.

    Attributes:
        states: in which the policy had to act.
        steps: that it took.
        error: ``Class: message`` of the exception that ended the way, if one did.
    """

    states: list[State]
    steps: list[StepRecord]
    error: str | None = None


def walk(env: SGDEnv, path: Policy, *, dialogue_id: str, seed: int) -> Walk:
    """Walk through a dialogue.

    Args:
        env: the environment.
        path: the policy that walks.
        dialogue_id: the dialogue.
        seed: of the policy.
    """
    observation, info = env.reset(seed=seed, options={"dialogue_id": dialogue_id})
    path.reset(seed=seed)
    way = Walk([], [])
    step, terminated = 0, False
    while not terminated:
        turn = info["turn"]
        way.states.append(State(turn, step, observation, env.get_state()))
        action = ask(path, observation)
        if isinstance(action, Exception):
            return way._replace(error=said(action))
        observation, _, terminated, _, info = env.step(action)
        way.steps.append(step_record(env.replay, action, observation, info))
        step = step + 1 if info["turn"] == turn else 0
    return way


def branch_game(env: SGDEnv, state: State, policy: str, seed: int) -> Game[Branch]:
    """Begin a branch: the open turn of a state, to its close.

    Args:
        env: is put into the state.
        state: where it begins.
        policy: the name of who will play.
        seed: of that policy.
    """
    env.set_state(state.snapshot)
    observation: Observation = state.observation
    steps: list[StepRecord] = []
    while not steps or env.replay.score is None:
        action = yield observation
        if isinstance(action, Exception):
            return Branch(policy, tuple(steps), seed, error=said(action))
        observation, _, _, _, info = env.step(action)
        steps.append(step_record(env.replay, action, observation, info))
    score = env.replay.score
    return Branch(policy, tuple(steps), seed, score.value, dict(score.components))


def branch_point(env: SGDEnv, state: State, seed: int, branches: Sequence[Branch]) -> BranchPoint:
    """Record a state and what followed from it.

    Args:
        env: has been in the state's dialogue.
        state: where the branches began.
        seed: of the way to the state.
        branches: what followed.
    """
    return BranchPoint(
        **origin(env),
        turn=state.turn,
        step=state.step,
        seed=seed,
        tools=state.observation["tools"],
        messages=state.observation["messages"],
        branches=tuple(branches),
    )
