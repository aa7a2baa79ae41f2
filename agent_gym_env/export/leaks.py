"""A check that no dialogue of a held-out split gets among the rows to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeVar

from agent_gym_env.chat import read_messages
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.errors import DataError
from agent_gym_env.export.rows import Tally, digest
from agent_gym_env.rollout.branching import BranchPoint
from agent_gym_env.rollout.episode import Episode

TELLING_TURNS = 3
"""User turns that tell dialogues apart: no two of SGD in different splits begin with the same."""

_Record = TypeVar("_Record", Episode, BranchPoint)


class HeldOut:
    """Dialogues that nothing may be learned from.

    A dialogue is known by its split, and in whatever split and under whatever id by its first
    `TELLING_TURNS` user turns.

    Args:
        splits: held out as a whole.
    """

    def __init__(self, splits: Iterable[Split]) -> None:
        self._splits: set[str] = set()
        self._beginnings: set[bytes] = set()
        for split in splits:
            self._splits.add(split.name)
            for index in range(len(split)):
                users = [turn.user for turn in split.task(index).turns]
                self._beginnings.add(digest(users[:TELLING_TURNS]))

    def has(self, record: Episode | BranchPoint) -> bool:
        """Tell whether a record is of one of the dialogues, as far as it has come."""
        if record.split in self._splits:
            return True
        return digest(_user_turns(record)[:TELLING_TURNS]) in self._beginnings


def _user_turns(record: Episode | BranchPoint) -> list[str]:
    if isinstance(record, Episode):
        return [turn.user for turn in record.turns]
    messages = read_messages(record.messages)
    return [message["content"] for message in messages if message["role"] == "user"]


def without_leaks(
    records: Iterable[_Record], held_out: HeldOut, tally: Tally, *, drop: bool
) -> Iterator[_Record]:
    """Pass on the records that are of no held-out dialogue.

    Args:
        records: episodes or branch points, those of a dialogue one after another: the first states
            of a dialogue are known by the later ones.
        held_out: the dialogues.
        tally: counts the others.
        drop: whether to leave the others out and go on.

    Raises:
        DataError: at the end, if there were others and they are not to be left out.
    """
    first = None
    for _, of_dialogue in groupby(records, key=_dialogue):
        group = list(of_dialogue)
        if not any(map(held_out.has, group)):
            yield from group
            continue
        tally.leave_out("held out", len(group))
        first = first or group[0]
    if first is not None and not drop:
        raise DataError(
            f"{tally.left_out['held out']} of {tally.read} records are of held-out dialogues, the "
            f"first of split {first.split!r}: leave such episodes away, or drop them with "
            "--drop-held-out",
            dialogue_id=first.dialogue_id,
        )


def _dialogue(record: Episode | BranchPoint) -> tuple[str, str, str]:
    return record.corpus, record.split, record.dialogue_id
