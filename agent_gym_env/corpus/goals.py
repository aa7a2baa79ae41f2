"""A user's goal, read from a recorded dialogue when its split is compiled.

The recorded user's decisions are kept by the *situation* that they answer (the errand, the kind of
the agent's turn and its count), not by their place in the dialogue. So a user simulator can use
them whatever the agent does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from agent_gym_env.corpus.sgd import (
    TODAY,
    Dialogue,
    DialogueAction,
    ServiceCall,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)
from agent_gym_env.corpus.tool_specs import ToolSpec, tool_name
from agent_gym_env.values.equality import canonical

Kind = Literal[
    "request", "offer", "confirm", "inform", "success", "counter", "failure", "propose", "more",
    "goodbye", "none",
]  # fmt: skip
"""Kinds of an agent's turn; a counter-offer is a failure that comes with another proposal."""

Outcome = Literal["success", "counter", "failure"]

_CONFIRMED_WITHIN = 4
"""A value that one of so many turns before confirmed explains an argument that was never said."""


class _Compiled(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Written as an array: the order of the fields is part of the store's format."""


class UserAct(_Compiled, frozen=True):
    """A dialogue act of the user.

    Attributes:
        service: the service that it is about.
        act: one of SGD's user acts.
        slot: the slot; ``""`` for an act without one.
        value: the canonical value; ``""`` for an act without one.
    """

    service: str
    act: str
    slot: str = ""
    value: str = ""


class Decision(_Compiled, frozen=True):
    """The recorded user's answer in one situation.

    Attributes:
        acts: the user's acts.
        turn: index of the task's turn that opens with the recorded words.
    """

    acts: tuple[UserAct, ...]
    turn: int


class Binding(_Compiled, frozen=True):
    """Source of an argument of an errand's last recorded call.

    Attributes:
        kind: ``user``: the user said it; ``row``: the row chosen in an errand of the same service;
            ``other_row``: of another service; ``confirmed``: the agent proposed it and the user
            agreed; ``carried``: said about another slot or service; ``default``: the schema's;
            ``unknown``: none of these.
        errand: index of the errand whose chosen row has it; -1 where the source is not a row.
        slot: the slot of that row.
    """

    kind: Literal["user", "row", "other_row", "confirmed", "carried", "default", "unknown"]
    errand: int = -1
    slot: str = ""


class Errand(_Compiled, frozen=True):
    """One intent that the user wants to have carried out.

    Attributes:
        service: the service's name.
        intent: the intent's name.
        transactional: whether the intent changes the world.
        proposed: whether the agent proposed it and the user agreed.
        voiced: values by slot, in the order in which the user said them.
        final: arguments of the last recorded call; ``None`` without one.
        bindings: source of each of these arguments.
        outcome: outcome of the last recorded call; ``None`` without one.
        offered: whether the agent offered a row that the call had returned.
        decisions: answers by situation, see `Situations`.
    """

    service: str
    intent: str
    transactional: bool
    proposed: bool
    voiced: dict[str, tuple[str, ...]]
    final: dict[str, str] | None
    bindings: dict[str, Binding]
    outcome: Outcome | None
    offered: bool
    decisions: dict[str, Decision]

    @property
    def tool(self) -> str:
        """Full name of the errand's tool."""
        return tool_name(self.service, self.intent)


class Place(_Compiled, frozen=True):
    """The characters of the user's words that say the value of a slot.

    Attributes:
        slot: the slot.
        start: index of the first character.
        end: index behind the last character.
    """

    slot: str
    start: int
    end: int


class Goal(_Compiled, frozen=True):
    """Everything that a user wants in one dialogue.

    Attributes:
        opening: the acts of the user's first turn.
        errands: in the order in which the user begins them.
        problems: stable codes of why the goal is incomplete; empty for a complete one.
        places: for each turn of the task, the values that the annotation marks in the user's words.
    """

    opening: tuple[UserAct, ...]
    errands: tuple[Errand, ...]
    problems: tuple[str, ...] = ()
    places: tuple[tuple[Place, ...], ...] = ()


class Situations:
    """Names the situations of the errand under way, at compile time and at play alike.

    Args:
        counts: number of turns of each kind since the errand began.
    """

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts: dict[str, int] = dict(counts or {})

    def begin_errand(self) -> None:
        """Forget the last errand."""
        self.counts.clear()

    def request(self, slots: Iterable[str]) -> str:
        """Name the situation after a request for slots."""
        asked = "request:" + ",".join(sorted(slots))
        return f"{asked}:{self._count(asked)}"

    def offer(self) -> str:
        """Name the situation after an offer."""
        self.counts["inform"] = 0
        return f"offer:{self._count('offer')}"

    def inform(self) -> str:
        """Name the situation after an answer about the row on the table."""
        offers, successes = self.counts.get("offer", 0), self.counts.get("success", 0)
        return f"inform:{offers}:{successes}:{self._count('inform')}"

    def success(self) -> str:
        """Name the situation after a reported success."""
        self.counts["inform"] = 0
        return f"success:{self._count('success')}"

    def propose(self, intent: str) -> str:
        """Name the situation after a proposal of another intent."""
        return f"propose:{intent}:{self._count('propose')}"

    def other(self, kind: str) -> str:
        """Name the situation after a turn of a kind that is only counted."""
        return f"{kind}:{self._count(kind)}"

    def take_back(self, kind: str) -> None:
        """Undo the last count of a kind whose turn did not count after all."""
        self.counts[kind] -= 1

    def _count(self, what: str) -> int:
        self.counts[what] = self.counts.get(what, 0) + 1
        return self.counts[what]


_KINDS: tuple[tuple[str, Kind], ...] = (
    ("CONFIRM", "confirm"),
    ("NOTIFY_SUCCESS", "success"),
    ("NOTIFY_FAILURE", "failure"),
    ("OFFER", "offer"),
    ("REQUEST", "request"),
    ("OFFER_INTENT", "propose"),
    ("INFORM", "inform"),
    ("REQ_MORE", "more"),
    ("GOODBYE", "goodbye"),
)


AGENT_ACTS = frozenset((*(act for act, _ in _KINDS), "INFORM_COUNT"))
"""The acts of an agent in SGD."""


def turn_kind(acts: Collection[str]) -> Kind:
    """Return the kind of an agent's turn that has acts of these kinds."""
    kind: Kind = next((kind for act, kind in _KINDS if act in acts), "none")
    return "counter" if kind == "failure" and "OFFER" in acts else kind


def action_value(action: DialogueAction) -> str:
    """Return the first value of an act: canonical if it has one, otherwise as it was said."""
    values = action.canonical_values or action.values
    return values[0] if values else ""


def user_acts(turn: UserTurn) -> tuple[UserAct, ...]:
    """Return the acts of a recorded user turn."""
    return tuple(
        UserAct(frame.service, action.act, action.slot,
                action.canonical_values[0] if action.canonical_values else "")
        for frame in turn.frames
        for action in frame.actions
    )  # fmt: skip


def read_goal(dialogue: Dialogue, tools: Mapping[str, ToolSpec]) -> Goal:
    """Read the user's goal from a recorded dialogue.

    Args:
        dialogue: user and system in turn, the user first.
        tools: by full name; those of the dialogue's services among them.
    """
    reader = _GoalReader(tools, dialogue.date or TODAY)
    for number in range(0, len(dialogue.turns), 2):
        user, system = dialogue.turns[number : number + 2]
        if isinstance(user, UserTurn) and isinstance(system, SystemTurn):
            reader.hear_user(user, number // 2)
            frames = system.frames
            reader.hear_system(next((f for f in frames if f.service_call is not None), frames[0]))
    return reader.goal()


class _OpenErrand:
    """An errand while its dialogue is read."""

    def __init__(self, spec: ToolSpec, *, proposed: bool) -> None:
        self.spec = spec
        self.proposed = proposed
        self.voiced: dict[str, list[str]] = {}
        self.final: dict[str, str] | None = None
        self.bindings: dict[str, Binding] = {}
        self.outcome: Outcome | None = None
        self.rows: list[dict[str, str]] = []
        self.offers: list[dict[str, str] | None] = []
        self.chosen: dict[str, str] | None = None
        self.told = False
        self.decisions: dict[str, Decision] = {}

    def close(self) -> Errand:
        return Errand(
            service=self.spec.service,
            intent=self.spec.intent,
            transactional=self.spec.transactional,
            proposed=self.proposed,
            voiced={slot: tuple(values) for slot, values in self.voiced.items()},
            final=self.final,
            bindings=self.bindings,
            outcome=self.outcome,
            offered=any(offer is not None for offer in self.offers),
            decisions=self.decisions,
        )

    def problems(self) -> Iterable[str]:
        if self.final is None:
            yield "errand_without_call"
            return
        if not set(self.spec.required) <= self.final.keys():
            yield "missing_required_argument"
        if any(binding.kind == "unknown" for binding in self.bindings.values()):
            yield "argument_of_unknown_source"
        if self.spec.transactional:
            return
        if not self.offers and not self.told and self.outcome == "success":
            yield "search_without_offer"
        if None in self.offers:
            yield "offer_not_in_results"


_Acts = dict[str, dict[str, str]]
"""The first value of each slot, by kind of act; ``""`` for an act without slot or value."""

_SAID = Binding("user")


class _GoalReader:
    """Follows a dialogue turn by turn."""

    def __init__(self, tools: Mapping[str, ToolSpec], today: str | None) -> None:
        self._tools = tools
        self._today = today
        self._errands: list[_OpenErrand] = []
        self._situations = Situations()
        self._situation: str | None = None
        self._opening: tuple[UserAct, ...] = ()
        self._said: dict[tuple[str, str], str] = {}
        self._offer: dict[str, str] | None = None
        self._confirmed: list[dict[str, str]] = []
        self._conflicts = 0
        self._places: list[tuple[Place, ...]] = []

    def goal(self) -> Goal:
        problems = {problem: None for errand in self._errands for problem in errand.problems()}
        if self._conflicts:
            problems["two_answers_in_one_situation"] = None
        if not self._errands:
            problems["no_errand"] = None
        errands = tuple(errand.close() for errand in self._errands)
        return Goal(self._opening, errands, tuple(problems), tuple(self._places))

    def hear_user(self, turn: UserTurn, index: int) -> None:
        acts = user_acts(turn)
        marked = (span for frame in turn.frames for span in frame.slots)
        self._places.append(tuple(Place(s.slot, s.start, s.exclusive_end) for s in marked))
        self._note_decision(acts, index)
        if self._errands and any(act.act == "SELECT" for act in acts):
            self._errands[-1].chosen = self._offer
        self._begin_errand(turn.frames)
        for act in acts:
            if act.act == "INFORM":
                self._said[act.service, act.slot] = act.value
                errand = self._errands[-1] if self._errands else None
                if errand is not None and act.service == errand.spec.service:
                    errand.voiced.setdefault(act.slot, []).append(act.value)

    def _note_decision(self, acts: tuple[UserAct, ...], index: int) -> None:
        if index == 0:
            self._opening = acts
        elif self._errands and self._situation is not None:
            decisions = self._errands[-1].decisions
            known = decisions.get(self._situation)
            if known is not None and set(known.acts) != set(acts):
                self._conflicts += 1
            else:
                decisions[self._situation] = Decision(acts, index)

    def _begin_errand(self, frames: Sequence[UserFrame]) -> None:
        for frame in frames:
            for action in frame.actions:
                if action.act == "INFORM_INTENT":
                    intent = action_value(action)
                elif action.act == "AFFIRM_INTENT":
                    intent = frame.state.active_intent
                else:
                    continue
                spec = self._tools.get(tool_name(frame.service, intent))
                if spec is not None:
                    proposed = action.act == "AFFIRM_INTENT"
                    self._errands.append(_OpenErrand(spec, proposed=proposed))
                    self._situations.begin_errand()

    def hear_system(self, frame: SystemFrame) -> None:
        acts: _Acts = {}
        for action in frame.actions:
            acts.setdefault(action.act, {})[action.slot] = action_value(action)
        self._confirmed.append(acts.get("CONFIRM", {}))
        if self._errands:
            errand = self._errands[-1]
            if frame.service_call is not None:
                self._note_call(errand, frame, frame.service_call, failed="NOTIFY_FAILURE" in acts)
            if "OFFER" in acts and "NOTIFY_FAILURE" not in acts:
                self._offer = row_with(errand.rows, acts["OFFER"], self._today)
                errand.offers.append(self._offer)
            errand.told |= "INFORM" in acts
        self._situation = self._situation_after(acts)

    def _situation_after(self, acts: _Acts) -> str:
        kind = turn_kind(acts)
        situations = self._situations
        if kind == "request":
            return situations.request(acts["REQUEST"])
        if kind == "propose":
            return situations.propose(next(iter(acts["OFFER_INTENT"].values())))
        if kind == "offer":
            return situations.offer()
        if kind == "inform":
            return situations.inform()
        return situations.success() if kind == "success" else situations.other(kind)

    def _note_call(
        self, errand: _OpenErrand, frame: SystemFrame, call: ServiceCall, *, failed: bool
    ) -> None:
        rows = frame.service_results or []
        errand.outcome = "success" if not failed else "counter" if rows else "failure"
        errand.final, errand.rows = dict(call.parameters), rows
        for slot, value in call.parameters.items():
            errand.bindings[slot] = self._binding(errand, frame.service, slot, value)

    def _binding(self, errand: _OpenErrand, service: str, slot: str, value: str) -> Binding:
        said = self._said.get((service, slot))
        if said == value:
            return _SAID
        key = self._key(value)
        if said is not None and self._key(said) == key:
            return _SAID
        found = self._chosen_row_with(service, slot, key)
        if found is not None:
            return found
        if any(slot in confirmed for confirmed in self._confirmed[-1 - _CONFIRMED_WITHIN : -1]):
            return Binding("confirmed")
        if any(self._key(other) == key for other in self._said.values()):
            return Binding("carried")
        default = errand.spec.defaults.get(slot)
        known = default is not None and self._key(default) == key
        return Binding("default" if known else "unknown")

    def _chosen_row_with(self, service: str, slot: str, key: str) -> Binding | None:
        chosen = [
            (number, errand.spec.service, errand.chosen)
            for number, errand in reversed(list(enumerate(self._errands)))
            if errand.chosen is not None
        ]
        for number, owner, row in chosen:
            if owner == service and slot in row and self._key(row[slot]) == key:
                return Binding("row", number, slot)
        for number, owner, row in chosen:
            same = (name for name, value in row.items() if self._key(value) == key)
            name = next(same, None) if owner != service else None
            if name is not None:
                return Binding("other_row", number, name)
        return None

    def _key(self, value: str) -> str:
        return canonical(value, self._today)


def row_with(
    rows: Iterable[Mapping[str, str]], values: Mapping[str, str], today: str | None
) -> dict[str, str] | None:
    """Return the first row that has all the values, compared in canonical form."""
    for row in rows:
        if all(slot in row and _same(row[slot], value, today) for slot, value in values.items()):
            return dict(row)
    return None


def _same(one: str, other: str, today: str | None) -> bool:
    return one == other or canonical(one, today) == canonical(other, today)
