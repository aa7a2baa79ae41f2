"""The contract of a reward: from a closed turn to a score and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from agent_gym_env.chat import MessageLog
from agent_gym_env.corpus.task import Turn
from agent_gym_env.types import ToolCall


class ClosedTurn(msgspec.Struct, frozen=True, gc=False):
    """The agent's part and the corpus's part of one turn.

    Attributes:
        text: reply of the agent; ``""`` for silence.
        calls: calls of the agent in order, with full tool names, refused ones included.
        target: recorded turn of the corpus.
        date: day of the conversation, ISO; ``None`` if it is not known.
        log: conversation before the reply, a JSON array in OpenAI's chat format without its closing
            bracket. It is not closed because most rewards do not read it, and copies of long texts
            are slow.
        tools: tools of the dialogue, JSON in OpenAI's function format.
        index: number of the agent's turn, from 0.
    """

    text: str
    calls: tuple[ToolCall, ...]
    target: Turn
    date: str | None
    log: str = "["
    tools: str = "[]"
    index: int = 0

    @property
    def messages(self) -> str:
        """The conversation with the reply at its end, JSON in OpenAI's chat format."""
        log = MessageLog(self.log)
        log.add_reply(self.text)
        return log.messages


class Score(msgspec.Struct, frozen=True, gc=False):
    """A reward for one turn.

    Attributes:
        value: reward in [0, 1]; ``None`` if it could not be determined, for example because a
            judge failed.
        components: parts of the reward, each in [0, 1]; ``None`` for a part that does not apply.
            A new dictionary for each score, because it becomes part of ``info``.
        reason: reason for a missing value, or explanation of a judge.
    """

    value: float | None
    components: dict[str, float | None]
    reason: str | None = None


class Reward(Protocol):
    """Scores closed turns. Implementations hold no state of a dialogue."""

    @property
    def name(self) -> str:
        """Name of the reward in episodes and reports."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the components, the same for each turn."""

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn."""


@runtime_checkable
class BatchReward(Protocol):
    """A reward that scores several turns faster together than one by one."""

    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        """Score turns, in their order."""


def not_a_score(reward: Reward, found: object) -> TypeError:
    """Return the error for a reward whose ``score`` does not return a `Score`."""
    return TypeError(
        f"score(turn) of the reward {reward.name!r} must return an agent_gym_env.Score, not "
        f"{type(found).__name__}"
    )


def score_all(reward: Reward, turns: Sequence[ClosedTurn]) -> list[Score]:
    """Score turns: all at once with a `BatchReward`, otherwise one by one.

    Raises:
        TypeError: the reward does not return a `Score`.
    """
    if isinstance(reward, BatchReward):
        scores = reward.score_many(turns)
    else:
        scores = [reward.score(turn) for turn in turns]
    for score in scores:
        if not isinstance(score, Score):
            raise not_a_score(reward, score)
    return scores
