"""Checking that training rows contain no dialogue of a held-out split."""

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

IDENTIFYING_TURNS = 3
"""Number of user turns that identify a dialogue: in SGD, no two splits share a beginning."""

_Record = TypeVar("_Record", Episode, BranchPoint)


class HeldOut:
    """Dialogues that must not be trained on.

    A dialogue is recognised by its split, and also by its first `IDENTIFYING_TURNS` user turns, in
    any split and under any id.

    Args:
        splits: splits that are held out as a whole.
    """

    def __init__(self, splits: Iterable[Split]) -> None:
        self._splits: set[str] = set()
        self._beginnings: set[bytes] = set()
        for split in splits:
            self._splits.add(split.name)
            for index in range(len(split)):
                users = [turn.user for turn in split.task(index).turns]
                self._beginnings.add(digest(users[:IDENTIFYING_TURNS]))

    def has(self, record: Episode | BranchPoint) -> bool:
        """Return whether a record belongs to one of the dialogues, as far as it was played."""
        if record.split in self._splits:
            return True
        return digest(_user_turns(record)[:IDENTIFYING_TURNS]) in self._beginnings


def _user_turns(record: Episode | BranchPoint) -> list[str]:
    if isinstance(record, Episode):
        return [turn.user for turn in record.turns]
    messages = read_messages(record.messages)
    return [message["content"] for message in messages if message["role"] == "user"]


def without_leaks(
    records: Iterable[_Record], held_out: HeldOut, tally: Tally, *, drop: bool
) -> Iterator[_Record]:
    """Yield the records that belong to no held-out dialogue.

    Args:
        records: episodes or branch points, grouped by dialogue: the later states of a dialogue
            identify its first ones.
        held_out: held-out dialogues.
        tally: counts the records that are left out.
        drop: true to leave out the records of held-out dialogues; false to raise at the end.

    Raises:
        DataError: records of held-out dialogues were found, and ``drop`` is false.
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
            f"first of split {first.split!r}. Export other episodes, or leave these out with "
            "--drop-held-out",
            dialogue_id=first.dialogue_id,
        )


def _dialogue(record: Episode | BranchPoint) -> tuple[str, str, str]:
    return record.corpus, record.split, record.dialogue_id
