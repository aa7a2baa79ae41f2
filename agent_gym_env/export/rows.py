"""Rows that trainers take, files of them, and the count of what an export leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent_gym_env.chat import Message, read_messages
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.lm.prompt import in_front, system_message
from agent_gym_env.storage.files import written_whole

_T = TypeVar("_T")

_encode = msgspec.json.Encoder().encode


class ConversationRow(msgspec.Struct, frozen=True):
    """A whole conversation, for supervised fine-tuning (SFT).

    Attributes:
        messages: messages of the conversation, the system message first. Arguments of calls are
            objects. An assistant message with ``"weight": 0`` is context only, as in OpenAI's
            fine-tuning format.
        tools: tools on offer, in OpenAI's function format.
        dialogue_id: id of the dialogue.
        split: split of the dialogue.
        policy: name of the policy that played.
        reward: mean reward of the scored turns, or their sum in a simulated dialogue; ``None`` if
            no turn was scored.
    """

    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    dialogue_id: str
    split: str
    policy: str
    reward: float | None


class PreferenceRow(msgspec.Struct, frozen=True):
    """A better and a worse message, for direct preference optimisation (DPO).

    Attributes:
        prompt: conversation before both messages, the system message first.
        chosen: the better message, alone in a list.
        rejected: the worse message, alone in a list.
        tools: tools on offer, in OpenAI's function format.
        chosen_reward: reward of the turn of the better message.
        rejected_reward: reward of the turn of the worse message.
        margin: difference of the rewards; ``None`` if one of them is unknown.
        chosen_policy: name of the policy that wrote the better message.
        rejected_policy: name of the policy that wrote the worse message.
        dialogue_id: id of the dialogue.
        split: split of the dialogue.
        turn: number of turns closed before.
        step: number of assistant messages in the open turn before these.
    """

    prompt: Sequence[Message]
    chosen: Sequence[Message]
    rejected: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    chosen_reward: float | None
    rejected_reward: float | None
    margin: float | None
    chosen_policy: str
    rejected_policy: str
    dialogue_id: str
    split: str
    turn: int
    step: int


class LabelledRow(msgspec.Struct, frozen=True):
    """A message labelled good or bad, for Kahneman-Tversky optimisation (KTO).

    Attributes:
        prompt: conversation before the message, the system message first.
        completion: the message, alone in a list.
        label: true if the message is good.
        tools: tools on offer, in OpenAI's function format.
        reward: reward of the message's turn; ``None`` if it is unknown.
        policy: name of the policy that wrote the message.
        dialogue_id: id of the dialogue.
        split: split of the dialogue.
        turn: number of turns closed before.
        step: number of assistant messages in the open turn before this one.
    """

    prompt: Sequence[Message]
    completion: Sequence[Message]
    label: bool
    tools: Sequence[dict[str, Any]]
    reward: float | None
    policy: str
    dialogue_id: str
    split: str
    turn: int
    step: int


class PromptRow(msgspec.Struct, frozen=True):
    """The beginning of a turn to play, for group relative policy optimisation (GRPO).

    Attributes:
        prompt: conversation so far: the system message first, the user's words last.
        tools: tools on offer, in OpenAI's function format.
        dialogue_id: id of the dialogue.
        split: split of the dialogue.
        turn: number of turns closed before.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        state: JSON that ``SGD-v0``'s ``set_state`` takes to return to the beginning of the turn; of
            a simulated dialogue, JSON of a `agent_gym_env.envs.simulation.SimulationStart`.
    """

    prompt: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    dialogue_id: str
    split: str
    turn: int
    schema_variant: str | None
    state: str


def conversation(messages: str, today: str | None, rules: str) -> list[Message]:
    """Decode an observation's ``messages`` and put the system message in front.

    Args:
        messages: messages as JSON.
        today: date of the dialogue, ISO; ``None`` if it is not known.
        rules: text of the system message, with ``{today}`` in the place of the date.

    Raises:
        DataError: the date is invalid, or the messages are not those of an environment.
    """
    try:
        day = None if today is None else date.fromisoformat(today)
    except ValueError as error:
        raise DataError(f"date must be like 2019-03-01, not {today!r}") from error
    return in_front(system_message(rules, day), read_messages(messages))


def only_last_learned(messages: list[Message]) -> list[Message]:
    """Return messages of which the last one is learned, and the assistant's others are read."""
    *before, answer = messages
    read = [{**each, "weight": 0} if each["role"] == "assistant" else each for each in before]
    return [*read, answer]


class Tally(msgspec.Struct):
    """Counts of what an export read, wrote and left out.

    Attributes:
        read: number of episodes or branch points.
        written: number of rows.
        left_out: number of records or rows left out, by reason.
    """

    read: int = 0
    written: int = 0
    left_out: dict[str, int] = {}

    def leave_out(self, reason: str, number: int = 1) -> None:
        """Count records or rows that are left out."""
        self.left_out[reason] = self.left_out.get(reason, 0) + number

    def require_rows(self) -> None:
        """Check that something was written.

        Raises:
            AgentGymError: nothing was written; names what was left out, and why.
        """
        if not self.written:
            reasons = ", ".join(f"{reason}: {number}" for reason, number in self.left_out.items())
            raise AgentGymError(
                "nothing was left to write"
                + (f" of {self.read} records" if self.read else "")
                + (f"; left out, {reasons}" if reasons else "")
            )


def counted(records: Iterable[_T], tally: Tally) -> Iterator[_T]:
    """Yield records and count them as read."""
    for record in records:
        tally.read += 1
        yield record


def distinct(rows: Iterable[_T], tally: Tally, *fields: str) -> Iterator[_T]:
    """Yield the first of all rows that agree in some fields; keeps 16 bytes of each in memory.

    Args:
        rows: structs.
        tally: counts the rows that are left out.
        *fields: fields in which two equal rows agree.
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
    """Hash a JSON-able value to 16 bytes."""
    return blake2b(_encode(value), digest_size=16).digest()


def write_rows(
    path: Path, rows: Iterable[msgspec.Struct], tally: Tally, *, max_bytes: int | None = None
) -> None:
    """Write rows, one JSON line each; the file appears when the last row is written.

    Args:
        path: path of the file.
        rows: rows; each is written as soon as it is yielded.
        tally: counts the rows.
        max_bytes: longer lines are left out.

    Raises:
        StorageError: the disk is full or read-only.
        AgentGymError: no row was written.
    """
    with written_whole(path) as file:
        for row in rows:
            line = _encode(row)
            if max_bytes is not None and len(line) > max_bytes:
                tally.leave_out("longer than max_bytes")
                continue
            file.write(line + b"\n")
            tally.written += 1
        tally.require_rows()
