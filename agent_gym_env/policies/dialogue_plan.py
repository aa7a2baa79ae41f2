"""The plan of an agent that works off one errand after another.

It asks for what a tool requires, in the order of the schema, searches, offers, confirms and books.
It works from the user's acts, which a `Listener` provides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from agent_gym_env.corpus.goals import Kind, turn_kind
from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.policies.agent_wording import Speaker, offered_values
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall
from agent_gym_env.values.equality import DONTCARE

_MOST_ASKED = 4
"""A slot is asked for so often; then the policy goes on without it."""

Row = dict[str, str]
_DECODE_RESULTS = msgspec.json.Decoder(list[dict[str, object]]).decode


class Act(Protocol):
    """An act of the user."""

    @property
    def service(self) -> str:
        """The service that it is about."""

    @property
    def act(self) -> str:
        """The kind."""

    @property
    def slot(self) -> str:
        """The slot."""

    @property
    def value(self) -> str:
        """The canonical value."""


class Tool(Protocol):
    """Schema of a tool, as the policy sees it."""

    @property
    def name(self) -> str:
        """Full name."""

    @property
    def intent(self) -> str:
        """Name of the intent."""

    @property
    def arguments(self) -> Mapping[str, Slot]:
        """Slot by argument name."""

    @property
    def transactional(self) -> bool:
        """True if a call of the tool changes data."""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the required arguments."""

    @property
    def defaults(self) -> Mapping[str, str]:
        """Default by name of each optional argument."""


class Listener(Protocol):
    """Understands the user's last turn."""

    def acts(self) -> Sequence[Act]:
        """Return the user's acts; a ``REQUEST`` among them need not name the slots."""

    def asked(self, row: Mapping[str, str]) -> Sequence[str]:
        """Return the slots that the user asks about, if a row is what they ask about."""


Steps = Generator[Action, Observation, None]
"""The actions of one dialogue; the next observation is sent in return for each."""


class PlanState(NamedTuple):
    """The point that a dialogue has reached, for a plan that goes on from there.

    Attributes:
        tool: the tool under way; ``None`` before the first.
        phase: phase of its errand, as `DialoguePlan` names them.
        said: values by slot, by service.
        chosen: the row that the user chose, by service.
        asked: number of times that each slot of the tool was asked for.
        rows: rows that the last query found.
        shown: rows of it that were offered.
        row: the row that was offered last.
        row_tool: the tool that found it.
        done: row of what was chosen or booked.
        counter: values of a counter-offer that the user did not ask for.
    """

    tool: Tool | None
    phase: str
    said: Mapping[str, Mapping[str, str]]
    chosen: Mapping[str, Row]
    asked: Mapping[str, int]
    rows: Sequence[Row]
    shown: Sequence[Row]
    row: Row | None
    row_tool: Tool | None
    done: Row
    counter: Row


class DialoguePlan:
    """Memory of one dialogue: the user's wishes and questions, the rows found and chosen.

    Args:
        tools: tools on offer, by full name.
        listener: understands the user.
        speaker: words the agent's acts.

    Attributes:
        last_kind: kind of the agent's last turn; ``none`` before the first.
        asked_for: slots that it asked for.
        said: values that the user said, by slot, by service.
        chosen: the row that the user chose, by service.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        listener: Listener,
        speaker: Speaker,
    ) -> None:
        self._tools = tools
        self._listener = listener
        self._speaker = speaker
        self._unclear = 0
        self.last_kind: Kind = "none"
        self.asked_for: tuple[str, ...] = ()
        self._tool: Tool | None = None
        self._service = ""
        self.said: dict[str, dict[str, str]] = {}
        self.chosen: dict[str, Row] = {}
        self._rows: list[Row] = []
        self._row: Row | None = None
        self._row_service = ""
        self._row_tool: Tool | None = None
        self._shown: list[Row] = []
        self._phase = "new"
        self._done: Row = {}
        self._counter: Row = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._kinds: set[str] = set()
        self._informed = False

    def play(self) -> Steps:
        """Play the dialogue. The generator does not end: it is dropped with the dialogue."""
        while True:
            self._hear()
            yield from self._turn()

    def resume(self, state: PlanState) -> None:
        """Go on, at the next turn of the user, with a dialogue that another agent has played."""
        tool, row_tool = state.tool, state.row_tool
        self._tool, self._service = tool, "" if tool is None else _service(tool)
        self._row_tool, self._row_service = row_tool, "" if row_tool is None else _service(row_tool)
        self._phase, self._row = state.phase, state.row
        self.said = {service: dict(values) for service, values in state.said.items()}
        self.chosen = dict(state.chosen)
        self._rows, self._shown = list(state.rows), list(state.shown)
        self._done, self._counter = state.done, state.counter
        name = "" if tool is None else tool.name
        self._asked = Counter({(name, slot): times for slot, times in state.asked.items()})

    def book(self) -> Steps:
        """Call the tool under way with what is known, whatever the phase, and say the result."""
        if self._tool is not None:
            yield from self._book(self._tool, self._arguments(self._tool))

    def _hear(self) -> None:
        acts = self._listener.acts()
        self._kinds = {act.act for act in acts}
        if "UNCLEAR" not in self._kinds:
            self._unclear = 0
        self._informed = any(act.act == "INFORM" for act in acts)
        for act in acts:
            if act.act == "INFORM_INTENT":
                self._hear_intent(act)
            elif act.act == "SELECT" and act.slot:
                named = (row for row in self._rows if row.get(act.slot) == act.value)
                self._row = next(named, self._row)
        for act in acts:
            if act.act == "INFORM":
                self.said.setdefault(act.service, {})[act.slot] = act.value

    def _hear_intent(self, act: Act) -> None:
        tool = self._tool
        is_same = tool is not None and (self._service, tool.intent) == (act.service, act.value)
        if is_same and self._phase == "done" and not self._informed:
            self._kinds.discard("INFORM_INTENT")  # what has just been booked, and nothing new
            return
        if tool is not None and is_same and self._phase == "failed" and self._informed:
            self._forget_options(tool)
        self._begin(act.service, act.value)

    def _forget_options(self, tool: Tool) -> None:
        """Forget the optional wishes that failed; the user says again what still counts."""
        said = self.said.get(self._service, {})
        self.said[self._service] = {slot: said[slot] for slot in said if slot in tool.required}

    def _begin(self, service: str, intent: str) -> None:
        tool = self._tools.get(f"{service}-{intent}")
        if tool is not None:
            self._tool, self._service, self._phase = tool, service, "new"

    def _turn(self) -> Steps:
        """Take one turn: calls, if any, then words."""
        tool, kinds = self._tool, self._kinds
        if tool is None:
            yield self._more()
        elif "GOODBYE" in kinds:
            yield self._goodbye()
        elif "UNCLEAR" in kinds:
            self._unclear += 1
            yield self._speaker.say_again() if self._unclear == 1 else self._more()
        elif self._phase == "request" and "REQUEST_ALTS" in kinds and self._row_tool is not None:
            self._tool, self._service = self._row_tool, self._row_service
            yield from self._offer_another(self._row_tool)
        elif self._phase in ("offered", "done") and self._told() and not self._agrees():
            yield self._inform(self._told())
        elif self._phase == "offered" and "REQUEST_ALTS" in kinds and not self._informed:
            yield from self._offer_another(tool)
        elif self._phase == "offered" and "SELECT" in kinds and not self._has_new_intent():
            self._choose()
            self._phase, self._done = "done", dict(self._row or {})
            yield self._more()
        elif self._phase in ("done", "failed") and not self._goes_on():
            leaves = {"NEGATE", "THANK_YOU"} <= kinds
            yield self._goodbye() if leaves else self._more()
        else:
            yield from self._work(tool)

    def _has_new_intent(self) -> bool:
        return bool(self._kinds & {"INFORM_INTENT", "AFFIRM_INTENT"})

    def _agrees(self) -> bool:
        return self._has_new_intent() or "AFFIRM" in self._kinds

    def _goes_on(self) -> bool:
        again = self._phase == "failed" and "REQUEST_ALTS" in self._kinds
        return self._has_new_intent() or again or (self._phase == "failed" and self._informed)

    def _told(self) -> Row:
        return self._asked_of((self._row if self._phase == "offered" else self._done) or {})

    def _asked_of(self, row: Row) -> Row:
        """Return the values of a row that answer the user's questions."""
        return {slot: row[slot] for slot in self._listener.asked(row) if slot in row}

    def _choose(self) -> None:
        if self._row is not None:
            self.chosen[self._row_service] = self._row

    def _work(self, tool: Tool) -> Steps:
        """Do what the errand under way needs next."""
        if "SELECT" in self._kinds or self._phase == "new":
            self._choose()
        arguments = self._arguments(tool)
        if self._phase == "confirm" and "AFFIRM" in self._kinds and "NEGATE" not in self._kinds:
            yield from self._book(tool, arguments)
        elif self._phase == "counter" and "AFFIRM" in self._kinds:
            self.said.setdefault(self._service, {}).update(self._counter)
            yield from self._book(tool, self._arguments(tool))
        elif self._phase == "counter" and "NEGATE" in self._kinds and not self._informed:
            self._phase, self._done = "done", {}
            yield self._more()
        else:
            yield from self._ask_or_search(tool, arguments)

    def _ask_or_search(self, tool: Tool, arguments: dict[str, str]) -> Steps:
        missing = [
            slot
            for slot in tool.required
            if slot not in arguments and self._asked[tool.name, slot] < _MOST_ASKED
        ][:2]
        if missing:
            for slot in missing:
                self._asked[tool.name, slot] += 1
            self._phase = "request"
            yield self._say(*(DialogueAct("REQUEST", slot) for slot in missing))
        elif tool.transactional:
            self._phase = "confirm"
            yield self._say(*acts_of("CONFIRM", arguments))
        else:
            yield from self._search(tool, arguments)

    def _arguments(self, tool: Tool) -> dict[str, str]:
        said, chosen = self.said.get(self._service, {}), self.chosen.get(self._service, {})
        return call_arguments(tool, said, chosen)

    def _search(self, tool: Tool, arguments: dict[str, str]) -> Steps:
        _, rows = read_result((yield Action(tool_calls=(ToolCall(tool.name, arguments),))))
        if not rows:
            self._phase = "failed"
            yield self._failure()
            return
        wants_another = "REQUEST_ALTS" in self._kinds
        fresh = [row for row in rows if row not in self._shown] if wants_another else rows
        self._rows = rows
        yield self._offer((fresh or rows)[0])

    def _offer_another(self, tool: Tool) -> Steps:
        fresh = [row for row in self._rows if row not in self._shown]
        if fresh:
            yield self._offer(fresh[0])
        else:
            yield Action(tool_calls=(ToolCall(tool.name, self._arguments(tool)),))
            self._phase = "failed"
            yield self._failure()

    def _offer(self, row: Row) -> Action:
        self._row, self._row_service, self._phase = row, self._service, "offered"
        self._row_tool = self._tool
        self._shown.append(row)
        return self._say(*acts_of("OFFER", offered_values(row, self._rows)))

    def _book(self, tool: Tool, arguments: dict[str, str]) -> Steps:
        status, rows = read_result((yield Action(tool_calls=(ToolCall(tool.name, arguments),))))
        row = rows[0] if rows else {}
        if status == "success":
            self._phase, self._done = "done", {**self.chosen.get(self._service, {}), **row}
            yield self._say(DialogueAct("NOTIFY_SUCCESS"), *acts_of("INFORM", self._told()))
            return
        changed = {s: value for s, value in row.items() if arguments.get(s, value) != value}
        if changed:
            self._phase, self._counter = "counter", changed
            told = acts_of("INFORM", self._asked_of(row))
            yield self._say(DialogueAct("NOTIFY_FAILURE"), *acts_of("OFFER", changed), *told)
        else:
            self._phase = "failed"
            yield self._failure()

    def _inform(self, told: Mapping[str, str]) -> Action:
        return self._say(*acts_of("INFORM", told))

    def _failure(self) -> Action:
        return self._say(DialogueAct("NOTIFY_FAILURE"), DialogueAct("REQ_MORE"))

    def _more(self) -> Action:
        return self._say(DialogueAct("REQ_MORE"))

    def _goodbye(self) -> Action:
        return self._say(DialogueAct("GOODBYE"))

    def _say(self, *acts: DialogueAct) -> Action:
        self.last_kind = turn_kind({act.act for act in acts})
        self.asked_for = tuple(act.slot for act in acts if act.act == "REQUEST")
        tool = self._tool
        slots = {} if tool is None else tool.arguments
        intent = "" if tool is None else tool.intent
        return self._speaker.say(acts, slots, intent, len(self._rows))


def _service(tool: Tool) -> str:
    return tool.name.rpartition("-")[0]


def acts_of(kind: str, values: Mapping[str, str]) -> tuple[DialogueAct, ...]:
    """Return an act of one kind for each slot and its value."""
    return tuple([DialogueAct(kind, slot, value) for slot, value in values.items()])


def call_arguments(tool: Tool, said: Mapping[str, str], chosen: Mapping[str, str]) -> Row:
    """Return the arguments of a call, as far as they are known.

    Args:
        tool: the tool.
        said: values that the user said, by slot.
        chosen: row that the user chose; a transaction takes what they did not say from it.
    """
    row = chosen if tool.transactional else {}
    arguments = {}
    for slot in (*tool.required, *tool.defaults):
        value = said.get(slot)
        if slot in tool.required and value in (None, DONTCARE):
            value = row.get(slot)
        if value is None and tool.transactional:
            value = tool.defaults.get(slot)
        if value is not None and value != DONTCARE:
            arguments[slot] = value
    return arguments


def read_result(observation: Observation) -> tuple[str, list[Row]]:
    """Return the status and the rows of a call; those of an error where none was answered."""
    if not observation["tool_result"]:
        return "error", []
    [result] = _DECODE_RESULTS(observation["tool_result"])
    return str(result["status"]), msgspec.convert(result.get("results", []), list[Row])
