"""A policy that hears the simulated user's acts and knows nothing of the goal.

It shows that a dialogue can be solved: it asks for what a tool requires in its own order, searches,
offers, confirms and books. The environment tells it the user's acts, which no other policy may ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from agent_gym_env.policies.oracle import HasUnwrapped
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall

DONTCARE = "dontcare"
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
    def transactional(self) -> bool:
        """True if a call of the tool changes data."""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the required arguments."""

    @property
    def defaults(self) -> Mapping[str, str]:
        """Default by name of each optional argument."""


@runtime_checkable
class ActsTeacher(Protocol):
    """An environment that tells the user's acts."""

    def user_acts(self) -> Sequence[Act]:
        """Return the acts of the user's last turn."""

    def tool_schemas(self) -> Mapping[str, Tool]:
        """Return the tools on offer, by full name."""


_Steps = Generator[Action, Observation, None]


class ActsOraclePolicy:
    """Solves simulated dialogues from the user's acts.

    Args:
        env: the environment to be played; its bare environment is an `ActsTeacher`.
    """

    name = "acts-oracle"

    def __init__(self, env: HasUnwrapped) -> None:
        teacher = env.unwrapped
        if not isinstance(teacher, ActsTeacher):
            raise TypeError(
                "the acts oracle needs an environment with a simulated user, SGDSim-v0; "
                f"{type(teacher).__name__} does not tell the user's acts"
            )
        self._teacher = teacher
        self._play: _Steps | None = None

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._play = None

    def act(self, observation: Observation) -> Action:
        """Take the next step of the dialogue."""
        if self._play is None:
            self._play = _Dialogue(self._teacher).play()
            return next(self._play)
        return self._play.send(observation)


class _Dialogue:
    """Memory of one dialogue: the user's wishes and questions, the rows found and chosen."""

    def __init__(self, teacher: ActsTeacher) -> None:
        self._teacher = teacher
        self._tools = teacher.tool_schemas()
        self._tool: Tool | None = None
        self._service = ""
        self._said: dict[str, dict[str, str]] = {}
        self._chosen: dict[str, Row] = {}
        self._rows: list[Row] = []
        self._row: Row | None = None
        self._row_service = ""
        self._shown: list[Row] = []
        self._phase = "new"
        self._done: Row = {}
        self._counter: Row = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._questions: list[str] = []
        self._kinds: set[str] = set()
        self._informed = False
        self._last: tuple[str, tuple[DialogueAct, ...]] = ("How can I help you?", ())

    def play(self) -> _Steps:
        while True:
            self._hear()
            yield from self._turn()

    def _hear(self) -> None:
        acts = self._teacher.user_acts()
        self._kinds = {act.act for act in acts}
        self._questions = [act.slot for act in acts if act.act == "REQUEST"]
        self._informed = any(act.act == "INFORM" for act in acts)
        for act in acts:
            if act.act == "INFORM_INTENT":
                self._begin(act.service, act.value)
        for act in acts:
            if act.act == "INFORM":
                self._said.setdefault(act.service, {})[act.slot] = act.value

    def _begin(self, service: str, intent: str) -> None:
        tool = self._tools.get(f"{service}-{intent}")
        if tool is not None:
            self._tool, self._service, self._phase = tool, service, "new"

    def _turn(self) -> _Steps:
        """Take one turn: calls, if any, then words."""
        tool, kinds = self._tool, self._kinds
        if tool is None:
            yield self._say("Is there anything I can help you with?", DialogueAct("REQ_MORE"))
        elif "GOODBYE" in kinds:
            yield self._say("Goodbye, have a great day!", DialogueAct("GOODBYE"))
        elif "UNCLEAR" in kinds:
            text, acts = self._last
            yield self._say(text, *acts)
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

    def _told(self) -> dict[str, str]:
        row = (self._row if self._phase == "offered" else self._done) or {}
        return {slot: row[slot] for slot in self._questions if slot in row}

    def _choose(self) -> None:
        if self._row is not None:
            self._chosen[self._row_service] = self._row

    def _work(self, tool: Tool) -> _Steps:
        """Do what the errand under way needs next."""
        if "SELECT" in self._kinds or self._phase == "new":
            self._choose()
        arguments = self._arguments(tool)
        if self._phase == "confirm" and "AFFIRM" in self._kinds and "NEGATE" not in self._kinds:
            yield from self._book(tool, arguments)
        elif self._phase == "counter" and "AFFIRM" in self._kinds:
            self._said.setdefault(self._service, {}).update(self._counter)
            yield from self._book(tool, self._arguments(tool))
        elif self._phase == "counter" and "NEGATE" in self._kinds and not self._informed:
            self._phase, self._done = "done", {}
            yield self._more()
        else:
            yield from self._ask_or_search(tool, arguments)

    def _ask_or_search(self, tool: Tool, arguments: dict[str, str]) -> _Steps:
        missing = [
            slot
            for slot in tool.required
            if slot not in arguments and self._asked[tool.name, slot] < _MOST_ASKED
        ][:2]
        if missing:
            for slot in missing:
                self._asked[tool.name, slot] += 1
            self._phase = "request"
            text = " ".join(f"What {_words(slot)} would you like?" for slot in missing)
            yield self._say(text, *(DialogueAct("REQUEST", slot) for slot in missing))
        elif tool.transactional:
            self._phase = "confirm"
            listed = ", ".join(f"{_words(slot)}: {value}" for slot, value in arguments.items())
            acts = (DialogueAct("CONFIRM", slot, value) for slot, value in arguments.items())
            yield self._say(f"Please confirm the following details: {listed}.", *acts)
        else:
            yield from self._search(tool, arguments)

    def _arguments(self, tool: Tool) -> dict[str, str]:
        said = self._said.get(self._service, {})
        row = self._chosen.get(self._service, {}) if tool.transactional else {}
        arguments = {}
        for slot in (*tool.required, *tool.defaults):
            value = said.get(slot)
            if value is None or (value == DONTCARE and slot in tool.required):
                value = row.get(slot) if slot in tool.required else None
            if value is None and tool.transactional:
                value = tool.defaults.get(slot)
            if value is not None and value != DONTCARE:
                arguments[slot] = value
        return arguments

    def _search(self, tool: Tool, arguments: dict[str, str]) -> _Steps:
        _, rows = self._result((yield Action(tool_calls=(ToolCall(tool.name, arguments),))))
        if not rows:
            self._phase = "failed"
            yield self._failure()
            return
        wants_another = "REQUEST_ALTS" in self._kinds
        fresh = [row for row in rows if row not in self._shown] if wants_another else rows
        self._rows = rows
        yield self._offer((fresh or rows)[0])

    def _offer_another(self, tool: Tool) -> _Steps:
        fresh = [row for row in self._rows if row not in self._shown]
        if fresh:
            yield self._offer(fresh[0])
        else:
            yield Action(tool_calls=(ToolCall(tool.name, self._arguments(tool)),))
            self._phase = "failed"
            yield self._failure()

    def _offer(self, row: Row) -> Action:
        self._row, self._row_service, self._phase = row, self._service, "offered"
        self._shown.append(row)
        listed = ", ".join(f"{_words(slot)}: {value}" for slot, value in row.items())
        acts = (DialogueAct("OFFER", slot, value) for slot, value in row.items())
        return self._say(f"I found this: {listed}. What do you think?", *acts)

    def _book(self, tool: Tool, arguments: dict[str, str]) -> _Steps:
        status, rows = self._result((yield Action(tool_calls=(ToolCall(tool.name, arguments),))))
        row = rows[0] if rows else {}
        if status == "success":
            self._phase, self._done = "done", {**self._chosen.get(self._service, {}), **row}
            told = self._told()
            acts = (DialogueAct("INFORM", slot, value) for slot, value in told.items())
            text = " ".join(["It is done.", *_sentences(told)])
            yield self._say(text, DialogueAct("NOTIFY_SUCCESS"), *acts)
            return
        changed = {s: value for s, value in row.items() if arguments.get(s, value) != value}
        if changed:
            self._phase, self._counter = "counter", changed
            told = {slot: row[slot] for slot in self._questions if slot in row}
            listed = ", ".join(f"{_words(slot)} {value}" for slot, value in self._counter.items())
            yield self._say(
                " ".join([f"That was not possible. Would {listed} do?", *_sentences(told)]),
                DialogueAct("NOTIFY_FAILURE"),
                *(DialogueAct("OFFER", slot, value) for slot, value in self._counter.items()),
                *(DialogueAct("INFORM", slot, value) for slot, value in told.items()),
            )
        else:
            self._phase = "failed"
            yield self._failure()

    def _result(self, observation: Observation) -> tuple[str, list[Row]]:
        [result] = _DECODE_RESULTS(observation["tool_result"])
        return str(result["status"]), msgspec.convert(result.get("results", []), list[Row])

    def _inform(self, told: Mapping[str, str]) -> Action:
        acts = (DialogueAct("INFORM", slot, value) for slot, value in told.items())
        return self._say(" ".join(_sentences(told)), *acts)

    def _failure(self) -> Action:
        text = "Sorry, I was not able to do that. Can I help with anything else?"
        return self._say(text, DialogueAct("NOTIFY_FAILURE"), DialogueAct("REQ_MORE"))

    def _more(self) -> Action:
        return self._say("Is there anything else I can help you with?", DialogueAct("REQ_MORE"))

    def _goodbye(self) -> Action:
        return self._say("Goodbye, have a great day!", DialogueAct("GOODBYE"))

    def _say(self, text: str, *acts: DialogueAct) -> Action:
        self._last = (text, acts)
        return Action(text, acts=acts)


def _words(slot: str) -> str:
    return slot.replace("_", " ")


def _sentences(told: Mapping[str, str]) -> list[str]:
    return [f"The {_words(slot)} is {value}." for slot, value in told.items()]
