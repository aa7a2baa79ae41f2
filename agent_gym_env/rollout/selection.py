"""Which episodes and rows an export keeps, and the count of those that it leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from agent_gym_env.errors import AgentGymError
from agent_gym_env.rollout.chat_rows import mean_reward
from agent_gym_env.rollout.episode import Episode

_T = TypeVar("_T")

_encode = msgspec.json.Encoder().encode


class Tally(msgspec.Struct):
    """What an export read, wrote and left out.

    Attributes:
        read: episodes or branch points.
        written: rows.
        left_out: how many for each reason.
    """

    read: int = 0
    written: int = 0
    left_out: dict[str, int] = {}

    def leave_out(self, reason: str, number: int = 1) -> None:
        """Count what is left out."""
        self.left_out[reason] = self.left_out.get(reason, 0) + number

    def require_rows(self) -> None:
        """Check that something was written.

        Raises:
            AgentGymError: nothing was left to write; names what was left out and why.
        """
        if not self.written:
            reasons = ", ".join(f"{reason}: {number}" for reason, number in self.left_out.items())
            raise AgentGymError(
                "nothing was left to write"
                + (f" of {self.read} records" if self.read else "")
                + (f"; left out, {reasons}" if reasons else "")
            )


def counted(records: Iterable[_T], tally: Tally) -> Iterator[_T]:
    """Pass on what is read, and count it."""
    for record in records:
        tally.read += 1
        yield record


def whole_episodes(
    episodes: Iterable[Episode], tally: Tally, *, min_reward: float | None = None
) -> Iterator[Episode]:
    """Pass on the episodes that came to their end and earned enough.

    Args:
        episodes: of any policies.
        tally: counts the others.
        min_reward: least mean of an episode's rewards; ``None`` for any, and for none at all.
    """
    for episode in episodes:
        reason = _objection(episode, min_reward)
        if reason is None:
            yield episode
        else:
            tally.leave_out(reason)


def _objection(episode: Episode, min_reward: float | None) -> str | None:
    if episode.error is not None:
        return "failed"
    if not (episode.terminated and episode.turns):
        return "unfinished"
    if min_reward is None:
        return None
    reward = mean_reward(episode)
    if reward is None:
        return "unscored"
    return "below min_reward" if reward < min_reward else None


def distinct(rows: Iterable[_T], tally: Tally, *fields: str) -> Iterator[_T]:
    """Pass on the first of the rows that agree in some fields; 16 bytes of each are kept in mind.

    Args:
        rows: structs.
        tally: counts the others.
        *fields: that make two rows the same.
    """
    seen: set[bytes] = set()
    for row in rows:
        key = digest([getattr(row, field) for field in fields])
        if key in seen:
            tally.leave_out("duplicate")
        else:
            seen.add(key)
            yield row


def digest(value: Any) -> bytes:
    """Give 16 bytes that stand for a value."""
    return blake2b(_encode(value), digest_size=16).digest()
