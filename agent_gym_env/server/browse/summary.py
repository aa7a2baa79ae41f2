"""Figures and words of an episode, by which episodes are listed, filtered and searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from agent_gym_env.evaluation.simulated import outcome
from agent_gym_env.rollout.episode import Episode, Spending, TurnRecord, spent_on

KINDS = {
    "missed": "a due call missed",
    "spurious": "a call that was not due",
    "misunderstood": "a turn not understood",
    "unseen": "an unseen service",
    "refused": "an action repaired or refused",
    "unscored": "a turn without a reward",
}
"""Kinds of episodes that can be filtered for, with their names on the page."""


class Summary(msgspec.Struct, frozen=True):
    """Figures of an episode that a list shows.

    Attributes:
        dialogue_id: id of the dialogue.
        split: split of the dialogue.
        policy: name of the policy.
        reward_name: name of the reward.
        seed: seed as text; ``""`` for none.
        services: services of the dialogue.
        reward: number by which episodes are ranked; ``None`` if no turn was scored.
        turns: number of turns.
        calls: number of tool calls.
        error: exception of the policy as ``Class: message``; ``""`` without one.
        error_class: class of the exception; ``""`` without one.
        outcome: how the dialogue ended, in a word or two.
        kinds: those of `KINDS` that the episode belongs to.
        rewards: reward of each turn; ``None`` for an unknown one.
        spending: completions, tokens and cost.
        duration_s: wall-clock seconds.
    """

    dialogue_id: str
    split: str
    policy: str
    reward_name: str
    seed: str
    services: tuple[str, ...]
    reward: float | None
    turns: int
    calls: int
    error: str
    error_class: str
    outcome: str
    kinds: tuple[str, ...]
    rewards: tuple[float | None, ...]
    spending: Spending
    duration_s: float


def summarize_episode(episode: Episode) -> Summary:
    """Compute the figures of an episode that a list shows."""
    error = episode.error or ""
    return Summary(
        dialogue_id=episode.dialogue_id,
        split=episode.split,
        policy=episode.policy,
        reward_name=episode.reward,
        seed="" if episode.seed is None else str(episode.seed),
        services=episode.services,
        reward=episode.ranking_reward,
        turns=len(episode.turns),
        calls=sum(len(turn.calls) for turn in episode.turns),
        error=error,
        error_class=error.partition(":")[0],
        outcome=_outcome(episode),
        kinds=tuple(kind for kind in KINDS if _IS_OF_KIND[kind](episode)),
        rewards=tuple(turn.reward for turn in episode.turns),
        spending=spent_on(step for turn in episode.turns for step in turn.steps) or Spending(),
        duration_s=episode.duration_s,
    )


def words_of(episode: Episode) -> Iterator[str]:
    """Yield the texts that a search looks into: words of both sides, and the tool calls."""
    yield episode.dialogue_id
    yield from episode.services
    for turn in episode.turns:
        yield turn.user
        for step in turn.steps:
            yield step.action.text
            for call in step.action.tool_calls:
                yield call.name
                yield from (each for each in call.arguments.values() if isinstance(each, str))


def _outcome(episode: Episode) -> str:
    if episode.error is not None:
        return "failed"
    if episode.truncated:
        return "cut short"
    if episode.simulated_user is None:
        return "played to the end" if episode.terminated else "broken off"
    found = outcome(episode)
    if found is None:
        return "broken off"
    if found.strict:
        return "strict success"
    return "success, not strict" if found.success else "no success"


def _is_missed(turn: TurnRecord) -> bool:
    due = None if turn.target is None else turn.target.call
    return due is not None and due.name not in [call.name for call in turn.calls]


def _is_unseen(episode: Episode) -> bool:
    seen = episode.seen_services
    return seen is not None and any(service not in seen for service in episode.services)


_IS_OF_KIND: dict[str, Callable[[Episode], bool]] = {
    "missed": lambda episode: any(map(_is_missed, episode.turns)),
    "spurious": lambda episode: any(
        turn.target is not None and turn.target.call is None and turn.calls
        for turn in episode.turns
    ),
    "misunderstood": lambda episode: any(
        turn.simulated is not None and not turn.simulated.understood for turn in episode.turns
    ),
    "unseen": _is_unseen,
    "refused": lambda episode: any(
        step.action_error is not None for turn in episode.turns for step in turn.steps
    ),
    "unscored": lambda episode: any(turn.reward is None for turn in episode.turns),
}
