"""Branch points: states of a dialogue from which the open turn is played more than once.

In a recorded dialogue a turn is scored when it closes. In a simulated dialogue its value shows
later, so one policy plays on to the end of the dialogue after each version of the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import STOPS_THE_RUN, LMError
from agent_gym_env.policies.base import Policy
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.rollout.episode import (
    Number,
    Spending,
    StepRecord,
    check_date_and_tools,
    spent_on,
)
from agent_gym_env.rollout.play import (
    EpisodeGenerator,
    ask,
    dialogue_in_play,
    error_text,
    is_policy_failure,
    origin,
    step_record,
)
from agent_gym_env.types import Action, Observation

BRANCH_FORMAT = 1

_SILENCE = Action()


class Continuation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Result of playing on from a branch to the end of a simulated dialogue.

    Attributes:
        seed: seed of the policy that played on. Continuations of two branches of a state that have
            the same seed also have the same user, as far as the user is random.
        reward: sum of the rewards of the branch's turn and of all turns after it; ``None`` if it is
            unknown.
        verdict: verdict on the dialogue at its end; ``None`` if the end was not reached.
        turns: number of turns played, the branch's included.
        spending: spending on the completions of the policy that played on.
        error: exception of the policy or of the user's model, as ``Class: message``. If the reward
            is known, the rest of the dialogue was played in silence.
    """

    seed: int
    reward: Number | None = None
    verdict: Verdict | None = None
    turns: int = 0
    spending: Spending | None = None
    error: str | None = None


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to play from a state to the end of the turn.

    Attributes:
        policy: name of the policy that played it.
        seed: seed of the policy.
        steps: at least one step, unless the policy failed.
        reward: reward of the turn in [0, 1]; of a simulated dialogue, the mean reward of the
            continuations. ``None`` if it is unknown, and where all branches of a state say the
            same, which are not played on.
        components: components of the reward; ``None`` for one that does not apply.
        error: exception that ended the branch or one of its continuations, as ``Class: message``.
        continuations: how a simulated dialogue went on.
    """

    policy: str
    steps: tuple[StepRecord, ...]
    seed: int | None = None
    reward: Number | None = None
    components: dict[str, Number | None] = {}
    error: str | None = None
    continuations: tuple[Continuation, ...] = ()

    def __post_init__(self) -> None:
        """Check that a branch without steps has an error; decoders call this, too.

        Raises:
            ValueError: the branch has neither.
        """
        if not self.steps and self.error is None:
            raise ValueError("a branch without an error has at least one step")


class BranchPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A state and its branches.

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
        branches: at least one branch.
        plays_on: name of the policy that played the continuations; ``None`` in a recorded dialogue.
        user_options: options that determine how the simulated user behaves; ``None`` in a recorded
            dialogue.
        format: version of the record's format.
    """

    dialogue_id: str
    split: str
    corpus: str
    services: tuple[str, ...]
    date: str | None
    reward: str
    turn: int
    messages: str
    branches: tuple[Branch, ...]
    schema_variant: str | None = None
    seen_services: tuple[str, ...] | None = None
    step: int = 0
    seed: int | None = None
    tools: str = "[]"
    plays_on: str | None = None
    user_options: dict[str, Any] | None = None
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


class PlayedBranch(NamedTuple):
    """A branch, and what it takes to play it again.

    Attributes:
        branch: the record.
        actions: actions as the policy gave them; empty if the branch failed.
    """

    branch: Branch
    actions: tuple[Action, ...] = ()

    @property
    def said(self) -> bytes:
        """The actions without their completions: equal for branches that say and do the same."""
        return msgspec.json.encode(
            [(each.text, each.tool_calls, each.acts) for each in self.actions]
        )


def play_path(
    env: SGDEnv | SGDSimEnv, policy: Policy, *, dialogue_id: str, seed: int
) -> PlayedPath:
    """Play a dialogue and keep every state.

    Args:
        env: environment to play in.
        policy: policy that plays.
        dialogue_id: id of the dialogue.
        seed: seed of the policy, and of the simulated user.
    """
    path = PlayedPath([], [])
    observation: Observation
    try:
        observation, _ = env.reset(seed=seed, options={"dialogue_id": dialogue_id})
    except STOPS_THE_RUN:
        raise
    except LMError as problem:  # the simulated user's model did not write the first words
        return path._replace(error=error_text(problem))
    policy.reset(seed=seed)
    turn, step, terminated = 0, 0, False
    while not terminated:
        path.states.append(State(turn, step, observation, env.get_state()))
        taken = _take(env, ask(policy, observation))
        if isinstance(taken, Exception):
            return path._replace(error=error_text(taken))
        observation, terminated = taken.observation, taken.terminated
        path.steps.append(taken.record)
        closed = dialogue_in_play(env).score is not None
        turn, step = (turn + 1, 0) if closed else (turn, step + 1)
    return path


class _Taken(NamedTuple):
    """A step of the environment."""

    action: Action
    observation: Observation
    terminated: bool
    record: StepRecord


def _take(env: SGDEnv | SGDSimEnv, action: Action | Exception) -> _Taken | Exception:
    """Take an action, or return the exception that prevents it."""
    if isinstance(action, Exception):
        return action
    try:
        observation, _, terminated, _, info = env.step(action)
    except STOPS_THE_RUN:
        raise
    except LMError as problem:  # the simulated user's model did not answer
        return problem
    record = step_record(dialogue_in_play(env), action, observation, info)
    return _Taken(action, observation, terminated, record)


def start_branch(
    env: SGDEnv | SGDSimEnv, state: State, policy: str, seed: int
) -> EpisodeGenerator[PlayedBranch]:
    """Play the open turn of a state to its end, as a generator that asks for each action.

    The generator yields an observation, is sent the policy's action or the exception that the
    policy raised, and returns the `PlayedBranch`.

    Args:
        env: environment to play in; it is set to the state.
        state: state to start from.
        policy: name of the policy that plays, for the record.
        seed: seed of that policy, for the record.
    """
    env.set_state(state.snapshot)
    dialogue = dialogue_in_play(env)
    observation: Observation = state.observation
    actions: list[Action] = []
    steps: list[StepRecord] = []
    while not steps or dialogue.score is None:
        action = yield observation
        taken = _take(env, action)
        if isinstance(taken, Exception):
            return PlayedBranch(Branch(policy, tuple(steps), seed, error=error_text(taken)))
        observation = taken.observation
        actions.append(taken.action)
        steps.append(taken.record)
    score = dialogue.score
    branch = Branch(policy, tuple(steps), seed, score.value, dict(score.components))
    return PlayedBranch(branch, tuple(actions))


def start_continuation(
    env: SGDSimEnv, state: State, actions: Sequence[Action], *, number: int, seed: int
) -> EpisodeGenerator[Continuation]:
    """Play a branch again and then on to the end of the dialogue, as `start_branch` does.

    A failure of the policy counts as silence for the rest of the dialogue, as in an episode.

    Args:
        env: environment to play in; it is set to the state.
        state: state to start from.
        actions: actions of the branch.
        number: number of the continuation. A user who is random is another one for each number, and
            the same one for all branches of the state.
        seed: seed of the policy that plays on, for the record.
    """
    user_seed = state.snapshot["seed"] + (number if env.settings.is_random() else 0)
    env.set_state({**state.snapshot, "seed": user_seed})
    observation: Observation = state.observation
    rewards: list[float | None] = []
    steps: list[StepRecord] = []
    error, terminated, turns_before = None, False, env.simulation.turn
    again = iter(actions)
    while not terminated:
        action: Action | Exception | None = next(again, None)
        asks = action is None and error is None
        if action is None:
            action = (yield observation) if asks else _SILENCE
        if isinstance(action, Exception) and is_policy_failure(action):
            error, action, asks = error_text(action), _SILENCE, False
        taken = _take(env, action)
        if isinstance(taken, Exception):
            return Continuation(seed, error=error_text(taken), spending=spent_on(steps))
        observation, terminated = taken.observation, taken.terminated
        if asks:
            steps.append(taken.record)
        if env.simulation.score is not None:
            rewards.append(env.simulation.score.value)
    known = [reward for reward in rewards if reward is not None]
    return Continuation(
        seed,
        reward=sum(known) if known else None,
        verdict=env.simulation.verdict,
        turns=env.simulation.turn - turns_before,
        spending=spent_on(steps),
        error=error,
    )


def with_outcome(branch: Branch, continuations: Sequence[Continuation]) -> Branch:
    """Return a branch of a simulated dialogue with the way it went on.

    Args:
        branch: branch that was played to the end of the turn.
        continuations: its continuations; empty if it was not played on, and its reward is unknown.
    """
    rewards = [each.reward for each in continuations]
    known = [reward for reward in rewards if reward is not None]
    lost = [each.error for each in continuations if each.reward is None and each.error is not None]
    return msgspec.structs.replace(
        branch,
        # A mean over fewer continuations would not be comparable with that of another branch.
        reward=sum(known) / len(known) if known and len(known) == len(rewards) else None,
        components={},
        error=branch.error or next(iter(lost), None),
        continuations=tuple(continuations),
    )


def branch_point(
    env: SGDEnv | SGDSimEnv,
    state: State,
    seed: int,
    branches: Sequence[Branch],
    *,
    plays_on: str | None = None,
) -> BranchPoint:
    """Record a state and its branches.

    Args:
        env: environment in the state's dialogue.
        state: state that the branches started from.
        seed: seed of the policy that led to the state.
        branches: branches of the state.
        plays_on: name of the policy that played a simulated dialogue on.
    """
    return BranchPoint(
        **origin(env),
        turn=state.turn,
        step=state.step,
        seed=seed,
        tools=state.observation["tools"],
        messages=state.observation["messages"],
        branches=tuple(branches),
        plays_on=plays_on,
        user_options=None if isinstance(env, SGDEnv) else env.user_options,
    )
