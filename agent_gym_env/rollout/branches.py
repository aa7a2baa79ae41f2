"""The record of one state of a dialogue from which the open turn was played more than once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent_gym_env.rollout.episode import Number, StepRecord, check_date_and_tools
from agent_gym_env.rollout.record_lines import read_record, record_lines

BRANCH_FORMAT = 1


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way on from a state, to the close of the turn.

    Attributes:
        policy: who played it.
        seed: of the policy.
        steps: at least one, but for a policy that failed.
        reward: of the turn, in [0, 1]; ``None`` where it could not be told.
        components: the reward's parts; ``None`` for one that does not apply.
        error: ``Class: message`` of the exception that ended the policy, and with it the branch.
    """

    policy: str
    steps: tuple[StepRecord, ...]
    seed: int | None = None
    reward: Number | None = None
    components: dict[str, Number | None] = {}
    error: str | None = None

    def __post_init__(self) -> None:
        """Refuse a branch without steps that has not failed; a decoder calls this, too.

        Raises:
            ValueError: it is one.
        """
        if not self.steps and self.error is None:
            raise ValueError("a branch without an error has at least one step")


class BranchPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A state, and what followed from it.

    Attributes:
        dialogue_id: unique within its split only.
        split: the split.
        corpus: fingerprint of the compiled split that was played.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        services: of the dialogue.
        seen_services: those of them that train has; ``None`` where the corpus has no train.
        date: the dialogue's "today", ISO.
        reward: the reward's name.
        turn: how many turns had closed.
        step: how many steps the open turn had taken.
        seed: of the way to the state.
        tools: what was on offer, JSON in OpenAI's function format.
        messages: the observation's, JSON in OpenAI's chat format.
        branches: at least one.
        format: version of this record's shape.
    """

    dialogue_id: str
    split: str
    corpus: str
    services: tuple[str, ...]
    date: str
    reward: str
    turn: int
    messages: str
    branches: tuple[Branch, ...]
    schema_variant: str | None = None
    seen_services: tuple[str, ...] | None = None
    step: int = 0
    seed: int | None = None
    tools: str = "[]"
    format: int = BRANCH_FORMAT

    def __post_init__(self) -> None:
        """Refuse a date or tools that nothing could read; a decoder calls this, too.

        Raises:
            ValueError: ``date`` or ``tools`` is not of its format.
        """
        check_date_and_tools(self.date, self.tools)


_decode = msgspec.json.Decoder(BranchPoint).decode


def read_branches(path: Path) -> Iterator[BranchPoint]:
    """Read branch points one at a time.

    Args:
        path: a file of them, a JSON line each, or the folder that a collector has filled.

    Raises:
        DataError: the path cannot be read, or a line is no branch point of this version's format.
        StorageError: a line of a collector's is not as it was written, or some are missing.
    """
    for place, line in record_lines(path, "branches"):
        yield read_record(_decode, line, place, kind="branch point", version=BRANCH_FORMAT)
