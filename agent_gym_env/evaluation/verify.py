"""Whether a reward gives every recorded turn of a corpus its full mark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score
from agent_gym_env.types import ToolCall


class ShortTurn(msgspec.Struct, frozen=True):
    """A recorded turn that earns less than 1.

    Attributes:
        dialogue_id: the dialogue.
        turn: which turn of the agent, from 0.
        reward: the reward's name.
        value: what it gave; ``None`` where it could not tell.
        reason: which parts fell short, and what is special about the turn.
    """

    dialogue_id: str
    turn: int
    reward: str
    value: float | None
    reason: str


class Verification(msgspec.Struct, frozen=True):
    """What the recorded dialogues of a split earn.

    Attributes:
        corpus: fingerprint of the split.
        split: its name.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        rewards: names of the rewards.
        dialogues: how many were scored.
        turns: how many were scored.
        short: the turns that earn less than 1.
    """

    corpus: str
    split: str
    schema_variant: str | None
    rewards: tuple[str, ...]
    dialogues: int
    turns: int
    short: tuple[ShortTurn, ...]


def verify(
    split: Split, rewards: Sequence[Reward], *, on_dialogue: Callable[[], None] | None = None
) -> Verification:
    """Answer every turn of a split as its recording does, and score the answer.

    Args:
        split: the dialogues.
        rewards: that need no conversation around the turn.
        on_dialogue: called after each dialogue.
    """
    turns = 0
    short: list[ShortTurn] = []
    for index in range(len(split)):
        task = split.task(index)
        turns += len(task.turns)
        short += _short_turns(task, rewards)
        if on_dialogue is not None:
            on_dialogue()
    return Verification(
        corpus=split.fingerprint,
        split=split.name,
        schema_variant=split.schema_variant,
        rewards=tuple(reward.name for reward in rewards),
        dialogues=len(split),
        turns=turns,
        short=tuple(short),
    )


def as_recorded(task: Task, index: int) -> ClosedTurn:
    """Close a turn with what the corpus did in it."""
    turn = task.turns[index]
    calls = () if turn.call is None else (ToolCall(turn.call.name, dict(turn.call.arguments)),)
    return ClosedTurn(turn.text, calls, turn, task.date, index=index)


def _short_turns(task: Task, rewards: Sequence[Reward]) -> Iterator[ShortTurn]:
    for index, turn in enumerate(task.turns):
        closed = as_recorded(task, index)
        for reward in rewards:
            score = reward.score(closed)
            if score.value != 1.0:
                reason = _reason(score, turn)
                yield ShortTurn(task.dialogue_id, index, reward.name, score.value, reason)


def _reason(score: Score, turn: Turn) -> str:
    if score.reason:
        return score.reason
    parts = [
        f"{name} {value:.3f}"
        for name, value in score.components.items()
        if value is not None and value < 1.0
    ]
    if not turn.text:
        parts.append("the recorded reply is empty")
    return ", ".join(parts)
