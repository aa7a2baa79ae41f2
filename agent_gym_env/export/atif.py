"""Episodes as trajectories in ATIF, the Agent Trajectory Interchange Format of Harbor.

A trajectory is one JSON document: the agent with its tools, the steps of system, user and agent,
and what they cost. ATIF has no field for rewards; they are in ``extra``.
Format: https://harborframework.com/docs/trajectory-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from agent_gym_env.chat import read_tools
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import (
    Episode,
    StepRecord,
    TurnRecord,
    results_of,
    spent_on,
)

ATIF_VERSION = "ATIF-v1.7"
"""Version that is written: the oldest with all fields that are used here."""


def _call_fields(name: str) -> str:
    return {"id": f"tool_call_{name}", "name": f"function_{name}"}.get(name, name)


class AtifCall(msgspec.Struct, frozen=True, rename=_call_fields):
    """A tool call.

    Attributes:
        id: id of the call, unique in the trajectory.
        name: full name of the tool.
        arguments: values by argument name.
    """

    id: str
    name: str
    arguments: dict[str, Any]


class AtifResult(msgspec.Struct, frozen=True):
    """The result of a call.

    Attributes:
        source_call_id: id of the call.
        content: the result as JSON.
    """

    source_call_id: str
    content: str


class AtifObservation(msgspec.Struct, frozen=True):
    """The results of a step's calls."""

    results: tuple[AtifResult, ...]


class AtifMetrics(msgspec.Struct, frozen=True, omit_defaults=True):
    """Numbers of one completion of a language model.

    Attributes:
        prompt_tokens: number of tokens of the prompt.
        completion_tokens: number of tokens of the completion.
        cost_usd: cost in US dollars, ``None`` if the price is unknown.
        completion_token_ids: ids of the completion's tokens, if known.
        extra: ``latency_s``, wall-clock seconds from request to answer.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    completion_token_ids: tuple[int, ...] | None = None
    extra: dict[str, Any] | None = None


class AtifStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step of the conversation.

    Attributes:
        step_id: number of the step, from 1.
        source: who speaks.
        message: the words; ``""`` for none.
        model_name: model that wrote the step.
        tool_calls: calls of the agent.
        observation: their results.
        metrics: numbers of the completion.
        extra: for the agent, ``action_error`` and ``acts`` of the step; in the last step of a turn
            its ``reward``, ``components`` and ``reason``.
    """

    step_id: int
    source: Literal["system", "user", "agent"]
    message: str
    model_name: str | None = None
    tool_calls: tuple[AtifCall, ...] | None = None
    observation: AtifObservation | None = None
    metrics: AtifMetrics | None = None
    extra: dict[str, Any] | None = None


class AtifAgent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The agent of a trajectory.

    Attributes:
        name: name of the policy.
        version: version of the policy; episodes do not record one.
        model_name: model that wrote the first completion, if any.
        tool_definitions: tools on offer, in OpenAI's function format.
    """

    name: str
    version: str
    model_name: str | None = None
    tool_definitions: list[dict[str, Any]] | None = None


class AtifTotals(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sums over a trajectory; sums of tokens and cost are ``None`` if no model was asked.

    Attributes:
        total_steps: number of steps.
        total_prompt_tokens: tokens of all prompts whose usage is known.
        total_completion_tokens: tokens of all completions whose usage is known.
        total_cost_usd: cost in US dollars; ``None`` if the price of a completion is unknown.
        extra: the name of the reward, the episode's ``reward``, how it ended, and ``duration_s``.
    """

    total_steps: int
    total_prompt_tokens: int | None = None
    total_completion_tokens: int | None = None
    total_cost_usd: float | None = None
    extra: dict[str, Any] | None = None


class AtifTrajectory(msgspec.Struct, frozen=True, omit_defaults=True):
    """An episode in ATIF.

    Attributes:
        schema_version: version of ATIF.
        session_id: the same as ``trajectory_id``: an episode is one run of its agent.
        trajectory_id: id of the trajectory, unique in the file.
        agent: the agent.
        steps: steps in order, at least one.
        final_metrics: sums over the trajectory.
        extra: what identifies the dialogue: id, split, corpus, services, date and seed, and the
            goal and options of a simulated user.
    """

    schema_version: str
    session_id: str
    trajectory_id: str
    agent: AtifAgent
    steps: tuple[AtifStep, ...]
    final_metrics: AtifTotals
    extra: dict[str, Any]


def trajectories(episodes: Iterable[Episode], tally: Tally) -> Iterator[AtifTrajectory]:
    """Yield a trajectory for each episode.

    Args:
        episodes: episodes of any policies, failed and unfinished ones included.
        tally: counts the episodes without a turn, which are left out: ATIF has no empty
            trajectories.

    Raises:
        DataError: an episode is inconsistent.
    """
    for number, episode in enumerate(episodes):
        if episode.turns:
            yield trajectory(episode, f"{number:06}-{episode.split}-{episode.dialogue_id}")
        else:
            tally.leave_out("without turns")


def trajectory(episode: Episode, trajectory_id: str) -> AtifTrajectory:
    """Convert an episode to a trajectory.

    Args:
        episode: an episode with at least one turn.
        trajectory_id: id of the trajectory.

    Raises:
        DataError: the episode is inconsistent.
    """
    steps = tuple(_steps(episode))
    return AtifTrajectory(
        schema_version=ATIF_VERSION,
        session_id=trajectory_id,
        trajectory_id=trajectory_id,
        agent=AtifAgent(
            name=episode.policy,
            version="unknown",
            model_name=next((step.model_name for step in steps if step.model_name), None),
            tool_definitions=read_tools(episode.tools),
        ),
        steps=steps,
        final_metrics=_totals(episode, len(steps)),
        extra=_dialogue(episode),
    )


def _steps(episode: Episode) -> Iterator[AtifStep]:
    number, calls = 1, 0
    if episode.system is not None:
        yield AtifStep(number, "system", episode.system)
        number += 1
    for turn in episode.turns:
        if turn.user:
            yield AtifStep(number, "user", turn.user)
            number += 1
        for step in turn.steps:
            extra = _score(turn) if step is turn.steps[-1] else {}
            yield _agent_step(number, calls, step, extra)
            number, calls = number + 1, calls + len(step.action.tool_calls)


def _agent_step(number: int, first: int, step: StepRecord, extra: dict[str, Any]) -> AtifStep:
    action = step.action
    ids = [f"call_{first + place}" for place in range(len(action.tool_calls))]
    calls = tuple(
        AtifCall(each, call.name, call.arguments)
        for each, call in zip(ids, action.tool_calls, strict=True)
    )
    results = tuple(map(AtifResult, ids, results_of(step)))
    if step.action_error is not None:
        extra = {"action_error": step.action_error, **extra}
    if action.acts:
        extra = {"acts": action.acts, **extra}
    return AtifStep(
        step_id=number,
        source="agent",
        message=action.text,
        model_name=(action.completion.model or None) if action.completion else None,
        tool_calls=calls or None,
        observation=AtifObservation(results) if results else None,
        metrics=_metrics(step),
        extra=extra or None,
    )


def _metrics(step: StepRecord) -> AtifMetrics | None:
    completion = step.action.completion
    if completion is None:
        return None
    usage, latency_s = completion.usage, completion.latency_s
    return AtifMetrics(
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
        cost_usd=completion.cost_usd,
        completion_token_ids=completion.token_ids,
        extra=None if latency_s is None else {"latency_s": latency_s},
    )


def _score(turn: TurnRecord) -> dict[str, Any]:
    named = {"reward": turn.reward, "components": turn.components, "reason": turn.reason}
    return {name: value for name, value in named.items() if value not in (None, {})}


def _totals(episode: Episode, steps: int) -> AtifTotals:
    spending = spent_on(step for turn in episode.turns for step in turn.steps)
    extra = {
        "reward_name": episode.reward,
        "reward": episode.ranking_reward,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "error": episode.error,
        "duration_s": episode.duration_s,
    }
    if spending is None:
        return AtifTotals(steps, extra=extra)
    return AtifTotals(
        steps,
        spending.prompt_tokens,
        spending.completion_tokens,
        None if spending.unpriced else spending.cost_usd,
        extra,
    )


def _dialogue(episode: Episode) -> dict[str, Any]:
    names = ("dialogue_id", "split", "corpus", "schema_variant", "services", "date", "seed")
    found = {name: getattr(episode, name) for name in names}
    user = episode.simulated_user
    if user is not None:
        found["simulated_user"] = {
            "goal": user.goal,
            "options": user.options,
            "leaves": user.leaves,
        }
    return {name: value for name, value in found.items() if value is not None}
