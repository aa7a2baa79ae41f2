"""The contract of a reward: from a closed turn to a score and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from agent_gym_env.chat import MessageLog
from agent_gym_env.corpus.task import Turn
from agent_gym_env.types import ToolCall


class ClosedTurn(msgspec.Struct, frozen=True, gc=False):
    """What an agent did in one turn, beside what the corpus did.

    Attributes:
        text: the reply; ``""`` where the turn closed in silence.
        calls: every call of the turn in order, with full tool names; refused ones included.
        target: what the corpus did.
        date: the dialogue's "today", ISO.
        log: the conversation up to the reply, which is not in it: a JSON array in OpenAI's chat
            format without its closing bracket. Most rewards do not read it, and long texts are dear
            to copy.
        tools: the tools that were on offer, JSON in OpenAI's function format.
        index: which turn of the agent this is, from 0.
    """

    text: str
    calls: tuple[ToolCall, ...]
    target: Turn
    date: str
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
        value: in [0, 1]; ``None`` where the reward could not be told, which is no fault of the
            agent.
        components: the reward's parts, each in [0, 1]; ``None`` for one that does not apply. Made
            for this score alone: it is handed on in ``info``.
        reason: why there is no value, or what a judge said.
    """

    value: float | None
    components: dict[str, float | None]
    reason: str | None = None


class Reward(Protocol):
    """Scores closed turns. Implementations hold no state of a dialogue."""

    @property
    def name(self) -> str:
        """What episodes and reports call the reward."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the components, the same for each turn."""

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn."""


@runtime_checkable
class BatchReward(Protocol):
    """A reward that is faster when asked about several turns at once."""

    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        """Score turns, in their order."""


def score_all(reward: Reward, turns: Sequence[ClosedTurn]) -> list[Score]:
    """Score turns, at once where the reward can do that."""
    if isinstance(reward, BatchReward):
        return reward.score_many(turns)
    return [reward.score(turn) for turn in turns]
