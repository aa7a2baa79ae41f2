"""The meaning of an agent's turn for a simulated user, read from the turn's acts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from agent_gym_env.corpus.goals import Kind, row_with, turn_kind
from agent_gym_env.types import DialogueAct

Row = dict[str, str]


class AgentTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """Meaning of one turn of the agent, as the user understands it.

    Attributes:
        kind: the kind of turn.
        slots: slots that were asked for.
        suggested: values that were suggested for some of them.
        offered: the row that was offered; ``None`` where no service has returned such a row.
        confirmed: values by slot that the agent asks the user to confirm.
        informed: values by slot that the user was told.
        intent: the intent that was proposed.
    """

    kind: Kind
    slots: tuple[str, ...] = ()
    suggested: dict[str, str] = {}
    offered: Row | None = None
    confirmed: dict[str, str] = {}
    informed: dict[str, str] = {}
    intent: str = ""


def read_acts(
    acts: Sequence[DialogueAct], rows: Iterable[Mapping[str, str]], today: str
) -> AgentTurn:
    """Read an agent's acts.

    Args:
        acts: acts of one turn.
        rows: rows that the services returned last; only one of these can be offered.
        today: the day of the dialogue, ISO.
    """
    kind = turn_kind({act.act for act in acts})
    offer = _values(acts, "OFFER")
    informed = _values(acts, "INFORM")
    return AgentTurn(
        kind=kind,
        slots=tuple(act.slot for act in acts if act.act == "REQUEST"),
        suggested={slot: value for slot, value in _values(acts, "REQUEST").items() if value},
        offered=row_with(rows, offer, today) if kind == "offer" else None,
        confirmed=_values(acts, "CONFIRM"),
        informed={**offer, **informed} if kind == "counter" else informed,
        intent=next((act.value for act in acts if act.act == "OFFER_INTENT"), ""),
    )


def _values(acts: Iterable[DialogueAct], kind: str) -> dict[str, str]:
    return {act.slot: act.value for act in acts if act.act == kind}
