"""Recorded episodes scored anew by another reward, as it would have scored them in play."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from agent_gym_env.evaluation.metrics import made_calls, reply
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, score_all
from agent_gym_env.rollout.episode import Episode, TurnRecord, transcript


def rescore(episode: Episode, reward: Reward) -> Episode:
    """Score an episode by a reward, in place of the one that it was played with.

    Raises:
        DataError: the record is not in order.
    """
    scored = zip(episode.turns, score_all(reward, list(closed_turns(episode))), strict=True)
    turns = tuple(_rescored(record, score) for record, score in scored)
    return structs.replace(episode, reward=reward.name, turns=turns)


def closed_turns(episode: Episode) -> Iterator[ClosedTurn]:
    """Yield each turn of an episode as a reward was given it.

    Raises:
        DataError: the record is not in order.
    """
    conversation = zip(episode.turns, transcript(episode), strict=True)
    for index, (turn, messages) in enumerate(conversation):
        yield ClosedTurn(
            text=reply(turn),
            calls=made_calls(turn),
            target=turn.target,
            date=episode.date,
            log=messages.log,
            tools=episode.tools,
            index=index,
        )


def _rescored(record: TurnRecord, score: Score) -> TurnRecord:
    components = dict(score.components)
    return structs.replace(record, reward=score.value, components=components, reason=score.reason)
