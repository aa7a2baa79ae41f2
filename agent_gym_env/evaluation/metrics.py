"""What one recorded turn says about a policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.rewards.ground_truth import jaccard
from agent_gym_env.rollout.episode import POLICY_FAILED, Episode, TurnRecord, defaults_by_tool
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import agreement, stated_arguments


class ToolCounts(msgspec.Struct, frozen=True, gc=False):
    """How the calls of a turn compare with the one that was due.

    Attributes:
        due: 1 where a call was due; a corpus records at most one in a turn.
        made: calls made, refused ones included.
        matched: 1 where a call of the due tool was made.
        exact: 1 where one was made with all arguments equal and none besides.
        arguments_due: arguments of the due call.
        arguments_made: arguments of the made call of that tool that comes closest.
        arguments_equal: those of equal name and value in both.
    """

    due: int = 0
    made: int = 0
    matched: int = 0
    exact: int = 0
    arguments_due: int = 0
    arguments_made: int = 0
    arguments_equal: int = 0


class TurnFacts(msgspec.Struct, frozen=True, gc=False):
    """One turn in numbers.

    Attributes:
        reward: ``None`` where it could not be told.
        components: the reward's parts; ``None`` for one that does not apply.
        service: the service that the recorded turn is about.
        domain: the service without its number.
        seen: whether train has the service; ``None`` where the corpus has no train.
        tools: the calls.
        response_similarity: of the reply to the recorded one, by their sets of words, whatever the
            reward is.
    """

    reward: float | None
    components: Mapping[str, float | None]
    service: str
    domain: str
    seen: bool | None
    tools: ToolCounts
    response_similarity: float


def turn_facts(episode: Episode) -> Iterator[TurnFacts]:
    """Put each turn of an episode into numbers."""
    defaults = defaults_by_tool(episode.tools)
    for turn in episode.turns:
        service = turn.target.service
        due = turn.target.call
        yield TurnFacts(
            reward=turn.reward,
            components=turn.components,
            service=service,
            domain=domain(service),
            seen=None if episode.seen_services is None else service in episode.seen_services,
            tools=tool_counts(
                due, made_calls(turn), episode.date, defaults.get(due.name) if due else None
            ),
            response_similarity=jaccard(reply(turn), turn.target.text),
        )


def reply(turn: TurnRecord) -> str:
    """Return the words that closed a turn; ``""`` where it closed in silence."""
    return turn.steps[-1].action.text


def made_calls(turn: TurnRecord) -> tuple[ToolCall, ...]:
    """Return every call of a turn, in order."""
    return tuple(call for step in turn.steps for call in step.action.tool_calls)


def domain(service: str) -> str:
    """Name the domain of a service: ``Hotels`` for ``Hotels_2``."""
    return re.sub(r"_\d+$", "", service)


def episode_return(episode: Episode) -> float | None:
    """Sum the rewards of an episode.

    Returns:
        ``None`` where the sum is not known: the episode did not come to its end, or a turn has no
        reward. A policy that failed is silent to the end of its dialogue, which is known.
    """
    rewards = [turn.reward for turn in episode.turns]
    scored = [reward for reward in rewards if reward is not None]
    ended = (episode.terminated or episode.truncated) and _is_whole(episode)
    return sum(scored) if ended and len(scored) == len(rewards) else None


def _is_whole(episode: Episode) -> bool:
    """Return whether each turn was played: by the policy, or in silence after it had failed."""
    if episode.error is None:
        return True
    return bool(episode.turns) and episode.turns[-1].steps[-1].action_error == POLICY_FAILED


def tool_counts(
    due: RecordedCall | None,
    made: Sequence[ToolCall],
    today: str,
    defaults: Mapping[str, str] | None = None,
) -> ToolCounts:
    """Compare the calls of a turn with the one that was due.

    Args:
        due: the recorded call.
        made: the agent's calls.
        today: the dialogue's date, ISO.
        defaults: value by name of each optional argument of the due tool. Arguments are compared as
            the services compare them: by what they mean, with an argument at its default absent.
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
