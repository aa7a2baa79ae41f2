"""Measurements of one recorded turn: rewards, tool calls, words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from agent_gym_env.corpus.task import RecordedCall, Turn
from agent_gym_env.rewards.ground_truth import jaccard
from agent_gym_env.rollout.episode import (
    POLICY_FAILED,
    Episode,
    TurnRecord,
    defaults_by_tool,
)
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import Agreement, agreement, stated_arguments


class ToolCounts(msgspec.Struct, frozen=True, gc=False):
    """Counts that compare the calls of a turn with those that were due.

    Attributes:
        due: number of calls that were due; SGD has one in a turn at most.
        made: number of calls made, refused ones included.
        matched: number of due calls whose tool was called, each by another call.
        exact: number of them that were made with exactly the due arguments.
        arguments_due: number of arguments of the due calls.
        arguments_made: number of arguments of the calls that are closest to them.
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
            tools = tool_counts(target.calls, turn.calls, episode.date, defaults)
            similarity = jaccard(turn.reply, target.text)
        yield TurnFacts(
            reward=turn.reward,
            components=turn.components,
            service=service,
            domain=domain(service),
            seen=_is_seen(episode, service, target),
            tools=tools,
            response_similarity=similarity,
        )


def _is_seen(episode: Episode, service: str, target: Turn | None) -> bool | None:
    is_unknown = target is not None and not service  # a turn of a log without a call
    if episode.seen_services is None or is_unknown:
        return None
    return service in episode.seen_services


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
    due: Sequence[RecordedCall],
    made: Sequence[ToolCall],
    today: str | None,
    defaults: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> ToolCounts:
    """Compare the calls of a turn with those that were due.

    Arguments are compared as the services compare them: by meaning, and an argument at its default
    equals its absence. Several due calls of a tool take the closest calls, one after the other.

    Args:
        due: recorded calls.
        made: calls of the agent.
        today: date of the dialogue, ISO; ``None`` if it is not known.
        defaults: defaults of the tools' optional arguments, by tool and name.
    """
    counts = ToolCounts(made=len(made))
    left = list(made)
    for call in due:
        known = defaults.get(call.name, {})
        found = [
            (agreement(call.arguments, call.forms, each.arguments, known, today), place)
            for place, each in enumerate(left)
            if each.name == call.name
        ]
        closest = None
        if found:
            closest, place = max(found, key=lambda each: (each[0].equal, -each[0].made))
            del left[place]
        counts = _with_call(counts, closest, len(stated_arguments(call.arguments, known, today)))
    return counts


def _with_call(counts: ToolCounts, closest: Agreement | None, arguments_due: int) -> ToolCounts:
    """Add a due call, and the closest one that was made."""
    equal, made = (0, 0) if closest is None else (closest.equal, closest.made)
    return ToolCounts(
        due=counts.due + 1,
        made=counts.made,
        matched=counts.matched + (closest is not None),
        exact=counts.exact + (closest is not None and closest.is_whole()),
        arguments_due=counts.arguments_due + arguments_due,
        arguments_made=counts.arguments_made + made,
        arguments_equal=counts.arguments_equal + equal,
    )
