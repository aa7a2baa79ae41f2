"""The meaning of an agent's turn for a simulated user, read from the turn's acts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from agent_gym_env.corpus.goals import Kind, row_with, turn_kind
from agent_gym_env.types import DialogueAct

Row = dict[str, str]

_REPORTS = {"NOTIFY_SUCCESS": "success", "NOTIFY_FAILURE": "failure"}


class AgentTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """Meaning of one turn of the agent, as the user understands it.

    Attributes:
        kind: the kind of turn.
        slots: slots that were asked for.
        suggested: values that were suggested for some of them.
        offered: the row that was offered; ``None`` where no service has returned such a row.
        named: values of that row that the agent named; ``None`` for all of them.
        confirmed: values by slot that the agent asks the user to confirm.
        informed: values by slot that the user was told.
        reports: results of a booking, ``success`` or ``failure``, that were reported in a turn of
            another kind.
        intent: the intent that was proposed.
    """

    kind: Kind
    slots: tuple[str, ...] = ()
    suggested: dict[str, str] = {}
    offered: Row | None = None
    named: dict[str, str] | None = None
    confirmed: dict[str, str] = {}
    informed: dict[str, str] = {}
    reports: tuple[str, ...] = ()
    intent: str = ""


def read_acts(
    acts: Sequence[DialogueAct], rows: Iterable[Mapping[str, str]], today: str | None
) -> AgentTurn:
    """Read an agent's acts.

    Args:
        acts: acts of one turn.
        rows: rows that the services returned last; only one of these can be offered.
        today: the day of the dialogue, ISO.
    """
    values, contradicted = _stated(acts)
    kind = turn_kind(values)
    asked, offer = values.get("REQUEST", {}), values.get("OFFER", {})
    informed = values.get("INFORM", {})
    names_a_row = bool(offer) and not any(act == "OFFER" for act, _ in contradicted)
    return AgentTurn(
        kind=kind,
        slots=tuple(asked),
        suggested={slot: value for slot, value in asked.items() if value},
        offered=row_with(rows, offer, today) if kind == "offer" and names_a_row else None,
        named=offer if kind == "offer" else None,
        confirmed=values.get("CONFIRM", {}),
        informed={**offer, **informed} if offer and kind != "offer" else informed,
        reports=() if _REPORTS.keys().isdisjoint(values) else _reports(values, kind),
        intent=next(iter(values.get("OFFER_INTENT", {}).values()), ""),
    )


def _reports(acts: Collection[str], kind: Kind) -> tuple[str, ...]:
    """Return the results that are reported in a turn of another kind."""
    main = "failure" if kind == "counter" else kind
    return tuple([each for act, each in _REPORTS.items() if act in acts and each != main])


def _stated(
    acts: Iterable[DialogueAct],
) -> tuple[dict[str, dict[str, str]], set[tuple[str, str]]]:
    """Return the values by act and slot, and each act and slot with several values.

    Such a slot has no value, since nothing was stated about it; a question about it stays one.
    """
    values: dict[str, dict[str, str]] = {}
    contradicted = set()
    for act in acts:
        if values.setdefault(act.act, {}).setdefault(act.slot, act.value) != act.value:
            contradicted.add((act.act, act.slot))
    for kind, slot in contradicted:
        if kind == "REQUEST":
            values[kind][slot] = ""
        else:
            del values[kind][slot]
    return values, contradicted
