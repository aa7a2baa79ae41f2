"""Measurements of one recorded turn: rewards, tool calls, words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.rewards.ground_truth import jaccard
from agent_gym_env.rollout.episode import (
    POLICY_FAILED,
    Episode,
    TurnRecord,
    defaults_by_tool,
)
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import agreement, stated_arguments


class ToolCounts(msgspec.Struct, frozen=True, gc=False):
    """Counts that compare the calls of a turn with the due call.

    Attributes:
        due: 1 if a call was due; a corpus records at most one in a turn.
        made: number of calls made, refused ones included.
        matched: 1 if the due tool was called.
        exact: 1 if it was called with exactly the due arguments.
        arguments_due: number of arguments of the due call.
        arguments_made: number of arguments of the closest call of the due tool.
        arguments_equal: number of arguments with equal name and value in both.
    """

    due: int = 0
    made: int = 0
    matched: int = 0
    exact: int = 0
    arguments_due: int = 0
    arguments_made: int = 0
    arguments_equal: int = 0


class TurnFacts(msgspec.Struct, frozen=True, gc=False):
    """Measurements of one turn.

    Attributes:
        reward: reward of the turn; ``None`` if it is unknown.
        components: components of the reward; ``None`` for one that does not apply.
        service: service of the recorded turn, or of the simulated user's errand.
        domain: name of the service without its number.
        seen: true if the train split has the service; ``None`` if the corpus has no train split.
        tools: counts of the calls; ``None`` in a simulated dialogue, where no call is due.
        response_similarity: Jaccard similarity of the reply to the recorded one, by their sets of
            words, whatever the reward is; ``None`` in a simulated dialogue.
    """

    reward: float | None
    components: Mapping[str, float | None]
    service: str
    domain: str
    seen: bool | None
    tools: ToolCounts | None
    response_similarity: float | None


def turn_facts(episode: Episode) -> Iterator[TurnFacts]:
    """Measure each turn of an episode."""
    defaults = defaults_by_tool(episode.tools)
    for turn in episode.turns:
        target = turn.target
        service = target.service if target is not None else _service_of_errand(turn)
        tools, similarity = None, None
        if target is not None:
            due = target.call
            known = defaults.get(due.name) if due else None
            tools = tool_counts(due, turn.calls, episode.date, known)
            similarity = jaccard(turn.reply, target.text)
        yield TurnFacts(
            reward=turn.reward,
            components=turn.components,
            service=service,
            domain=domain(service),
            seen=None if episode.seen_services is None else service in episode.seen_services,
            tools=tools,
            response_similarity=similarity,
        )


def _service_of_errand(turn: TurnRecord) -> str:
    return "" if turn.simulated is None else turn.simulated.service


def domain(service: str) -> str:
    """Return the domain of a service: ``Hotels`` for ``Hotels_2``."""
    return re.sub(r"_\d+$", "", service)


def episode_return(episode: Episode) -> float | None:
    """Sum the rewards of an episode.

    Returns:
        The sum; ``None`` if it is unknown because the episode did not end or a turn has no reward.
        If the policy failed and the rest was played in silence, the sum is known.
    """
    rewards = [turn.reward for turn in episode.turns]
    scored = [reward for reward in rewards if reward is not None]
    return sum(scored) if is_ended(episode) and len(scored) == len(rewards) else None


def is_ended(episode: Episode) -> bool:
    """Return whether a dialogue reached its end or its time limit.

    Each turn was played then, by the policy or in silence after it had failed.
    """
    if not (episode.terminated or episode.truncated):
        return False
    if episode.error is None:
        return True
    return bool(episode.turns) and episode.turns[-1].steps[-1].action_error == POLICY_FAILED


def tool_counts(
    due: RecordedCall | None,
    made: Sequence[ToolCall],
    today: str,
    defaults: Mapping[str, str] | None = None,
) -> ToolCounts:
    """Compare the calls of a turn with the due call.

    Arguments are compared as the services compare them: by meaning, and an argument at its default
    equals its absence.

    Args:
        due: recorded call.
        made: calls of the agent.
        today: date of the dialogue, ISO.
        defaults: defaults of the due tool's optional arguments, by name.
    """
    if due is None:
        return ToolCounts(made=len(made))
    found = [
        agreement(due.arguments, due.forms, call.arguments, defaults or {}, today)
        for call in made
        if call.name == due.name
    ]
    if not found:
        stated = stated_arguments(due.arguments, defaults or {}, today)
        return ToolCounts(due=1, made=len(made), arguments_due=len(stated))
    closest = max(found, key=lambda each: (each.equal, -each.made))
    return ToolCounts(
        due=1,
        made=len(made),
        matched=1,
        exact=int(closest.is_whole()),
        arguments_due=closest.due,
        arguments_made=closest.made,
        arguments_equal=closest.equal,
    )
