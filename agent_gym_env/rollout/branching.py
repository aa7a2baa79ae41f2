"""Branch points: states of a dialogue from which the open turn is played more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.policies.base import Policy
from agent_gym_env.rollout.episode import Number, StepRecord, check_date_and_tools
from agent_gym_env.rollout.play import EpisodeGenerator, ask, error_text, origin, step_record
from agent_gym_env.types import Observation

BRANCH_FORMAT = 1


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One continuation from a state to the end of the turn.

    Attributes:
        policy: name of the policy that played it.
        seed: seed of the policy.
        steps: at least one step, unless the policy failed.
        reward: reward of the turn in [0, 1]; ``None`` if it is unknown.
        components: components of the reward; ``None`` for one that does not apply.
        error: exception that ended the policy and the branch, as ``Class: message``.
    """

    policy: str
    steps: tuple[StepRecord, ...]
    seed: int | None = None
    reward: Number | None = None
    components: dict[str, Number | None] = {}
    error: str | None = None

    def __post_init__(self) -> None:
        """Check that a branch without steps has an error; decoders call this, too.

        Raises:
            ValueError: the branch has neither.
        """
        if not self.steps and self.error is None:
            raise ValueError("a branch without an error has at least one step")


class BranchPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A state and its continuations.

    Attributes:
        dialogue_id: id of the dialogue, unique within its split only.
        split: split of the dialogue.
        corpus: fingerprint of the compiled split.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        services: services of the dialogue.
        seen_services: those of them that the train split has; ``None`` if the corpus has no train
            split.
        date: the dialogue's "today", ISO.
        reward: name of the reward.
        turn: number of turns closed before.
        step: number of steps in the open turn before.
        seed: seed of the policy that led to the state.
        tools: tools on offer, JSON in OpenAI's function format.
        messages: ``messages`` of the observation, JSON in OpenAI's chat format.
        branches: at least one continuation.
        format: version of the record's format.
    """

    dialogue_id: str
    split: str
    corpus: str
    services: tuple[str, ...]
    date: str
    reward: str
    turn: int
    messages: str
    branches: tuple[Branch, ...]
    schema_variant: str | None = None
    seen_services: tuple[str, ...] | None = None
    step: int = 0
    seed: int | None = None
    tools: str = "[]"
    format: int = BRANCH_FORMAT

    def __post_init__(self) -> None:
        """Check the date and the tools; decoders call this, too.

        Raises:
            ValueError: ``date`` or ``tools`` is malformed.
        """
        check_date_and_tools(self.date, self.tools)


class State(NamedTuple):
    """A state of a dialogue in play.

    Attributes:
        turn: number of turns closed before.
        step: number of steps in the open turn before.
        observation: observation in the state.
        snapshot: snapshot of the environment.
    """

    turn: int
    step: int
    observation: Observation
    snapshot: dict[str, Any]


class PlayedPath(NamedTuple):
    """A path through a dialogue.

    Attributes:
        states: states in which the policy had to act.
        steps: steps of the policy.
        error: exception that ended the path early, as ``Class: message``.
    """

    states: list[State]
    steps: list[StepRecord]
    error: str | None = None


def play_path(env: SGDEnv, policy: Policy, *, dialogue_id: str, seed: int) -> PlayedPath:
    """Play a dialogue and keep every state.

    Args:
        env: environment to play in.
        policy: policy that plays.
        dialogue_id: id of the dialogue.
        seed: seed of the policy.
    """
    observation, info = env.reset(seed=seed, options={"dialogue_id": dialogue_id})
    policy.reset(seed=seed)
    path = PlayedPath([], [])
    step, terminated = 0, False
    while not terminated:
        turn = info["turn"]
        path.states.append(State(turn, step, observation, env.get_state()))
        action = ask(policy, observation)
        if isinstance(action, Exception):
            return path._replace(error=error_text(action))
        observation, _, terminated, _, info = env.step(action)
        path.steps.append(step_record(env.replay, action, observation, info))
        step = step + 1 if info["turn"] == turn else 0
    return path


def start_branch(env: SGDEnv, state: State, policy: str, seed: int) -> EpisodeGenerator[Branch]:
    """Play the open turn of a state to its end, as a generator that asks for each action.

    The generator yields an observation, is sent the policy's action or the exception that the
    policy raised, and returns the `Branch`.

    Args:
        env: environment to play in; it is set to the state.
        state: state to start from.
        policy: name of the policy that plays, for the record.
        seed: seed of that policy, for the record.
    """
    env.set_state(state.snapshot)
    observation: Observation = state.observation
    steps: list[StepRecord] = []
    while not steps or env.replay.score is None:
        action = yield observation
        if isinstance(action, Exception):
            return Branch(policy, tuple(steps), seed, error=error_text(action))
        observation, _, _, _, info = env.step(action)
        steps.append(step_record(env.replay, action, observation, info))
    score = env.replay.score
    return Branch(policy, tuple(steps), seed, score.value, dict(score.components))


def branch_point(env: SGDEnv, state: State, seed: int, branches: Sequence[Branch]) -> BranchPoint:
    """Record a state and its continuations.

    Args:
        env: environment in the state's dialogue.
        state: state that the branches started from.
        seed: seed of the policy that led to the state.
        branches: continuations.
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
