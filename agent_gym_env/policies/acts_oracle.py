"""A policy that hears the simulated user's acts and knows nothing of the goal.

It shows that a dialogue can be solved: it asks for what a tool requires in its own order, searches,
offers, confirms and books. The environment tells it the user's acts, which no other policy may ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.policies.agent_wording import Speaker, Wording, offered_values
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
        wording: style of the policy's words (``terse``, ``plain``, ``verbose`` or
            ``descriptive``), or a function that puts acts into words. When the user has not
            understood, the policy says the same in the next style, or calls the function again.

    Raises:
        TypeError: the environment has no simulated user.
        ValueError: the style is unknown.
    """

    name = "acts-oracle"

    def __init__(self, env: HasUnwrapped, *, wording: str | Wording = "plain") -> None:
        teacher = env.unwrapped
        if not isinstance(teacher, ActsTeacher):
            raise TypeError(
                "the acts oracle needs an environment with a simulated user, SGDSim-v0; "
                f"{type(teacher).__name__} does not tell the user's acts"
            )
        self._teacher = teacher
        self._wording = wording
        Speaker(wording)  # refuses an unknown style
        self._play: _Steps | None = None

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._play = None

    def act(self, observation: Observation) -> Action:
        """Take the next step of the dialogue."""
        if self._play is None:
            self._play = _Dialogue(self._teacher, Speaker(self._wording)).play()
            return next(self._play)
        return self._play.send(observation)


class _Dialogue:
    """Memory of one dialogue: the user's wishes and questions, the rows found and chosen."""

    def __init__(self, teacher: ActsTeacher, speaker: Speaker) -> None:
        self._teacher = teacher
        self._speaker = speaker
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
            yield self._more()
        elif "GOODBYE" in kinds:
            yield self._goodbye()
        elif "UNCLEAR" in kinds:
            yield self._speaker.say_again()
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
            yield self._say(*(DialogueAct("REQUEST", slot) for slot in missing))
        elif tool.transactional:
            self._phase = "confirm"
            yield self._say(*_acts("CONFIRM", arguments))
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
        return self._say(*_acts("OFFER", offered_values(row, self._rows)))

    def _book(self, tool: Tool, arguments: dict[str, str]) -> _Steps:
        status, rows = self._result((yield Action(tool_calls=(ToolCall(tool.name, arguments),))))
        row = rows[0] if rows else {}
        if status == "success":
            self._phase, self._done = "done", {**self._chosen.get(self._service, {}), **row}
            yield self._say(DialogueAct("NOTIFY_SUCCESS"), *_acts("INFORM", self._told()))
            return
        changed = {s: value for s, value in row.items() if arguments.get(s, value) != value}
        if changed:
            self._phase, self._counter = "counter", changed
            told = {slot: row[slot] for slot in self._questions if slot in row}
            failure = DialogueAct("NOTIFY_FAILURE")
            yield self._say(failure, *_acts("OFFER", changed), *_acts("INFORM", told))
        else:
            self._phase = "failed"
            yield self._failure()

    def _result(self, observation: Observation) -> tuple[str, list[Row]]:
        [result] = _DECODE_RESULTS(observation["tool_result"])
        return str(result["status"]), msgspec.convert(result.get("results", []), list[Row])

    def _inform(self, told: Mapping[str, str]) -> Action:
        return self._say(*_acts("INFORM", told))

    def _failure(self) -> Action:
        return self._say(DialogueAct("NOTIFY_FAILURE"), DialogueAct("REQ_MORE"))

    def _more(self) -> Action:
        return self._say(DialogueAct("REQ_MORE"))

    def _goodbye(self) -> Action:
        return self._say(DialogueAct("GOODBYE"))

    def _say(self, *acts: DialogueAct) -> Action:
        tool = self._tool
        slots = {} if tool is None else tool.arguments
        intent = "" if tool is None else tool.intent
        return self._speaker.say(acts, slots, intent, len(self._rows))


def _acts(kind: str, values: Mapping[str, str]) -> tuple[DialogueAct, ...]:
    return tuple(DialogueAct(kind, slot, value) for slot, value in values.items())
