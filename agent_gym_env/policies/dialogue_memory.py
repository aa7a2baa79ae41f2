"""The memory of an agent that acts by numbers: what was said, called, answered and offered.

It is the state of the choices in `agent_gym_env.policies.act_choices`. It learns of the user only
what a `Listener` hears, and knows nothing of the user's goal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from agent_gym_env.corpus.goals import Kind, row_with, turn_kind
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.policies.dialogue_plan import Listener, Row, Tool, call_arguments
from agent_gym_env.types import DialogueAct

Outcome = Literal["none", "rows", "empty", "done", "counter", "failed", "error"]
"""Result of the last call of the errand under way; ``none`` before the first."""


class Errand(msgspec.Struct):
    """Memory of the errand under way.

    Attributes:
        rows: rows that the last query found.
        shown: rows of it that the agent offered.
        row: the row that was offered last.
        outcome: result of the last call.
        is_news: whether that call was made in this turn.
        called_with: arguments of the last call, as a key; ``""`` before the first.
        calls: number of calls in this turn.
        queries: number of queries.
        confirmed: key of the arguments that the agent asked the user to confirm last.
        agreed: key of the arguments that the user agreed to last.
        confirmations: number of times that it asked.
        questions: slots that the user asked about, without those that were answered.
        booked: what was booked; ``None`` before that.
        counter: the counter-offer of a failed booking.
        is_settled: whether the user chose a row or the booking succeeded.
    """

    rows: list[Row] = []
    shown: list[Row] = []
    row: Row | None = None
    outcome: Outcome = "none"
    is_news: bool = False
    called_with: str = ""
    calls: int = 0
    queries: int = 0
    confirmed: str = ""
    agreed: str = ""
    confirmations: int = 0
    questions: list[str] = []
    booked: Row | None = None
    counter: Row | None = None
    is_settled: bool = False

    def unseen(self) -> list[Row]:
        """Return the rows that were found and not offered yet."""
        return [row for row in self.rows if row not in self.shown]


class DialogueMemory(msgspec.Struct):
    """Memory of one dialogue; all of it is JSON-able.

    Attributes:
        tool: full name of the tool under way; ``""`` before the first.
        errand: memory of the errand under way.
        said: values by slot, by service.
        chosen: the row that was offered last, by service.
        heard: kinds of the user's last acts.
        turn: number of turns of the user.
        last_kind: kind of the agent's last turn; ``none`` before the first.
        asked_for: slots that it asked for.
        repeated: number of times that it was of the same kind before.
        requests: number of times that a slot of the errand under way was asked for.
        proposed: tools that the agent proposed.
        finished: tools whose errands were settled, in order.
        unclear: number of turns in which the user did not understand.
    """

    tool: str = ""
    errand: Errand = msgspec.field(default_factory=Errand)
    said: dict[str, dict[str, str]] = {}
    chosen: dict[str, Row] = {}
    heard: list[str] = []
    turn: int = 0
    last_kind: Kind = "none"
    asked_for: tuple[str, ...] = ()
    repeated: int = 0
    requests: dict[str, int] = {}
    proposed: list[str] = []
    finished: list[str] = []
    unclear: int = 0

    @property
    def service(self) -> str:
        """Service of the tool under way."""
        return self.tool.rpartition("-")[0]

    def hear(self, listener: Listener, tools: Mapping[str, Tool]) -> None:
        """Take in the user's last turn.

        Args:
            listener: understands the user.
            tools: tools on offer, by full name.
        """
        acts = listener.acts()
        kinds = {act.act for act in acts}
        self.heard = sorted(kinds)
        self.turn += 1
        self.errand.is_news, self.errand.calls = False, 0
        self.unclear += "UNCLEAR" in kinds
        for act in acts:
            if act.act in ("INFORM_INTENT", "AFFIRM_INTENT"):
                wanted = self._wanted(act.act, f"{act.service}-{act.value}")
                if wanted in tools:
                    self._begin(wanted, again="INFORM" in kinds)
        for act in acts:
            if act.act == "INFORM":
                self.said.setdefault(act.service, {})[act.slot] = act.value
        self._hear_answer(kinds, tools)
        errand = self.errand
        if "SELECT" in kinds:
            errand.is_settled = True
            named = {act.slot: act.value for act in acts if act.act == "SELECT" and act.slot}
            if named:
                errand.row = row_with(errand.rows, named, TODAY) or errand.row
        asked = [act.slot for act in acts if act.act == "REQUEST" and act.slot]
        asked += listener.asked(self.source())
        errand.questions += [slot for slot in dict.fromkeys(asked) if slot not in errand.questions]

    def _wanted(self, act: str, named: str) -> str:
        """Return the tool that the user wants; an agreement means what was proposed last."""
        return self.proposed[-1] if act == "AFFIRM_INTENT" and self.proposed else named

    def _begin(self, tool: str, *, again: bool) -> None:
        errand = self.errand
        if tool == self.tool and errand.booked is not None and not again:
            return  # the user speaks of what was just booked
        if errand.is_settled and self.tool:
            self.finished.append(self.tool)
        if tool != self.tool:
            self.requests = {}
        self.tool, self.errand = tool, Errand()

    def _hear_answer(self, kinds: Iterable[str], tools: Mapping[str, Tool]) -> None:
        """Take in whether the user agrees to what was asked or offered."""
        tool, errand = tools.get(self.tool), self.errand
        if tool is None or "AFFIRM" not in kinds or "NEGATE" in kinds:
            return
        if self.last_kind == "counter" and errand.counter:
            said = self.said.setdefault(self.service, {})
            changed = {s: v for s, v in errand.counter.items() if s in tool.arguments}
            said.update(changed)
            errand.agreed = errand.confirmed = self.key(tool)
        elif self.last_kind == "confirm":
            errand.agreed = self.key(tool)

    def arguments(self, tool: Tool) -> Row:
        """Return the arguments of a call of the tool under way, as far as they are known."""
        chosen = self.chosen.get(self.service, {})
        return call_arguments(tool, self.said.get(self.service, {}), chosen)

    def missing(self, tool: Tool) -> list[str]:
        """Return the required slots of the tool under way that have no value."""
        known = self.arguments(tool)
        return [slot for slot in tool.required if slot not in known]

    def unsaid(self, tool: Tool) -> list[str]:
        """Return the optional slots that the user has said nothing about, the least asked first."""
        said = self.said.get(self.service, {})
        open_slots = [slot for slot in tool.defaults if slot not in said]
        return sorted(open_slots, key=lambda slot: self.requests.get(slot, 0))

    def key(self, tool: Tool) -> str:
        """Return the arguments of the tool under way as a text that can be compared."""
        return f"{self.tool} {sorted(self.arguments(tool).items())}"

    def source(self) -> Row:
        """Return the row that questions are answered from; empty where there is none."""
        errand = self.errand
        return errand.booked or errand.counter or errand.row or self.chosen.get(self.service, {})

    def note_result(self, tool: Tool, status: str, rows: Sequence[Row]) -> None:
        """Take in the answer to a call of the tool under way.

        Args:
            tool: the tool.
            status: status of the result.
            rows: its rows.
        """
        errand = self.errand
        errand.calls += 1
        errand.is_news, errand.called_with = True, self.key(tool)
        if status == "error":
            errand.outcome = "error"
        elif not tool.transactional:
            errand.outcome, errand.rows = "rows" if rows else "empty", list(rows)
            errand.queries += 1
            if "REQUEST_ALTS" not in self.heard:
                errand.shown = []
        elif status == "success":
            chosen = self.chosen.get(self.service, {})
            errand.outcome, errand.is_settled = "done", True
            errand.booked = {**chosen, **(rows[0] if rows else {})}
            errand.counter = None
        else:
            errand.outcome = "counter" if rows else "failed"
            errand.counter = dict(rows[0]) if rows else None

    def note_said(self, acts: Sequence[DialogueAct], tool: Tool | None) -> None:
        """Take in the agent's own turn.

        Args:
            acts: what it said.
            tool: the tool under way; ``None`` before the first.
        """
        kind, errand = turn_kind({act.act for act in acts}), self.errand
        self.repeated = self.repeated + 1 if kind == self.last_kind else 0
        self.last_kind = kind
        values: dict[str, dict[str, str]] = {}
        for act in acts:
            values.setdefault(act.act, {})[act.slot] = act.value
        self.asked_for = tuple(values.get("REQUEST", {}))
        for slot in self.asked_for:
            self.requests[slot] = self.requests.get(slot, 0) + 1
        if kind == "offer":
            self._note_offer(values["OFFER"])
        elif kind == "confirm" and tool is not None:
            errand.confirmed = self.key(tool)
            errand.confirmations += 1
        elif kind == "propose":
            self.proposed += [
                f"{self.service}-{value}" for value in values["OFFER_INTENT"].values()
            ]
        told = values.get("INFORM", {})
        if kind == "failure":
            errand.questions = []
        errand.questions = [slot for slot in errand.questions if slot not in told]

    def _note_offer(self, offered: Mapping[str, str]) -> None:
        errand = self.errand
        row = row_with([*errand.unseen(), *errand.rows], offered, TODAY)
        if row is not None:
            errand.row = self.chosen[self.service] = row
            if row not in errand.shown:
                errand.shown.append(row)
