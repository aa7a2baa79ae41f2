"""A check that no dialogue of a held-out split gets among the rows to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.branches import BranchPoint
from agent_gym_env.rollout.chat_messages import read_messages
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.selection import Tally, digest

TELLING_TURNS = 3
"""User turns that tell dialogues apart: no two of SGD in different splits begin with the same."""

_Record = TypeVar("_Record", Episode, BranchPoint)


class HeldOut:
    """Dialogues that nothing may be learned from.

    A dialogue is known by its split, id and first words, and in whatever split and under whatever
    id by its first `TELLING_TURNS` user turns.

    Args:
        splits: held out as a whole.
    """

    def __init__(self, splits: Iterable[Split]) -> None:
        self._known: set[bytes] = set()
        for split in splits:
            for index in range(len(split)):
                task = split.task(index)
                users = [turn.user for turn in task.turns]
                self._known.update(_keys(split.name, task.dialogue_id, users, is_whole=True))

    def has(self, record: Episode | BranchPoint) -> bool:
        """Tell whether a record is of one of the dialogues."""
        is_whole = isinstance(record, Episode)
        users = _user_turns(record)
        return not self._known.isdisjoint(
            _keys(record.split, record.dialogue_id, users, is_whole=is_whole)
        )


def _user_turns(record: Episode | BranchPoint) -> list[str]:
    if isinstance(record, Episode):
        return [turn.user for turn in record.turns]
    messages = read_messages(record.messages)
    return [message["content"] for message in messages if message["role"] == "user"]


def _keys(split: str, dialogue_id: str, users: Sequence[str], *, is_whole: bool) -> Iterator[bytes]:
    """Give the digests that a dialogue is known by.

    Args:
        split: its split.
        dialogue_id: its id.
        users: its user turns, from the first.
        is_whole: whether these are all.
    """
    yield digest((split, dialogue_id, users[:1]))
    if is_whole or len(users) >= TELLING_TURNS:
        yield digest(users[:TELLING_TURNS])


def without_leaks(
    records: Iterable[_Record], held_out: HeldOut, tally: Tally, *, drop: bool
) -> Iterator[_Record]:
    """Pass on the records that are of no held-out dialogue.

    Args:
        records: episodes or branch points.
        held_out: the dialogues.
        tally: counts the others.
        drop: whether to leave the others out and go on.

    Raises:
        DataError: at the end, if there were others and they are not to be left out.
    """
    first = None
    for record in records:
        if not held_out.has(record):
            yield record
            continue
        tally.leave_out("held out")
        first = first or record
    if first is not None and not drop:
        raise DataError(
            f"{tally.left_out['held out']} of {tally.read} records are of held-out dialogues, the "
            f"first of split {first.split!r}: leave such episodes away, or drop them with "
            "--drop-held-out",
            dialogue_id=first.dialogue_id,
        )
