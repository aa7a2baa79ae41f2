"""Check that the oracle earns 1 in every turn of a corpus and gets the recorded tool results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from agent_gym_env.evaluation.evaluate import setting_of
from agent_gym_env.evaluation.rescore import closed_turns
from agent_gym_env.evaluation.table import number
from agent_gym_env.rewards.base import Reward, Score
from agent_gym_env.rollout.episode import Episode, TurnRecord


class ShortTurn(msgspec.Struct, frozen=True):
    """A turn in which the recorded action earns less than 1 or gets other tool results.

    Attributes:
        dialogue_id: id of the dialogue.
        turn: index of the agent's turn, from 0.
        reward: name of the reward.
        value: reward of the turn; ``None`` if it is unknown.
        reason: components below 1, and peculiarities of the turn.
    """

    dialogue_id: str
    turn: int
    reward: str
    value: float | None
    reason: str


class Verification(msgspec.Struct, frozen=True):
    """Result of verifying a split.

    Attributes:
        corpus: fingerprint of the split.
        split: name of the split.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        rewards: names of the rewards.
        dialogues: number of dialogues scored.
        turns: number of turns scored.
        short: turns that did not pass.
    """

    corpus: str
    split: str
    schema_variant: str | None
    rewards: tuple[str, ...]
    dialogues: int
    turns: int
    short: tuple[ShortTurn, ...]


def verify(episodes: Iterable[Episode], rewards: Sequence[Reward]) -> Verification:
    """Score the oracle's episodes, and compare its tool results with the recordings.

    Args:
        episodes: episodes of the oracle, all of one split.
        rewards: rewards that score them.

    Raises:
        ValueError: ``episodes`` is empty.
    """
    setting, dialogues, turns = None, 0, 0
    short: list[ShortTurn] = []
    for episode in episodes:
        setting = setting or setting_of(episode)
        dialogues += 1
        turns += len(episode.turns)
        short += _short_turns(episode, rewards)
    if setting is None:
        raise ValueError("expected at least one episode to verify, found none")
    return Verification(
        corpus=setting.corpus,
        split=setting.split,
        schema_variant=setting.schema_variant,
        rewards=tuple(reward.name for reward in rewards),
        dialogues=dialogues,
        turns=turns,
        short=tuple(short),
    )


def _short_turns(episode: Episode, rewards: Sequence[Reward]) -> Iterator[ShortTurn]:
    for record, closed in zip(episode.turns, closed_turns(episode), strict=True):
        answered = _is_answered_as_recorded(record)
        for reward in rewards:
            score = reward.score(closed)
            if score.value != 1.0 or not answered:
                reason = _reason(score, record, answered)
                yield ShortTurn(episode.dialogue_id, closed.index, reward.name, score.value, reason)


def _is_answered_as_recorded(record: TurnRecord) -> bool:
    recorded = [
        {"name": call.name, "status": call.status, "results": msgspec.json.decode(call.results)}
        for call in (record.target.calls if record.target is not None else ())
    ]
    answers = [step.tool_result for step in record.steps if step.tool_result]
    found = [result for answer in answers for result in msgspec.json.decode(answer)]
    return not recorded or found == recorded


def _reason(score: Score, record: TurnRecord, answered: bool) -> str:
    if score.reason:
        return score.reason
    reasons = [
        f"{name} {value:.3f}"
        for name, value in score.components.items()
        if value is not None and value < 1.0
    ]
    if record.target is not None and not record.target.text:
        reasons.append("the recorded reply is empty")
    if not answered:
        reasons.append("a call was not answered as recorded")
    return ", ".join(reasons)


VERIFICATION_HEADER = ("dialogue", "turn", "reward", "value", "reason")


def verification_rows(verification: Verification) -> list[tuple[str, ...]]:
    """Return the cells of a table under `VERIFICATION_HEADER`, one row for each short turn."""
    return [
        (turn.dialogue_id, str(turn.turn), turn.reward, number(turn.value), turn.reason)
        for turn in verification.short
    ]
