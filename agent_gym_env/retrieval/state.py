"""State of a conversation: the tool that the user wants, filled slots, results, last words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent_gym_env.retrieval.mentions import Mention
from agent_gym_env.retrieval.tokens import Token, phrase_key, stems_of, tokens_of
from agent_gym_env.retrieval.tool_schemas import ToolSchema, ToolSchemas
from agent_gym_env.retrieval.vocabulary import Vocabulary, kind_of_value
from agent_gym_env.values.equality import canonical

Row = Mapping[str, str]

_TELLING = 3
"""A shorter value in a reply does not show which row the reply is about; characters."""


class Filled(NamedTuple):
    """Value of a slot.

    Attributes:
        value: value in the form that an argument takes.
        said: words in which it was said.
    """

    value: str
    said: str


class Guess(NamedTuple):
    """A value that a slot may have, not probable enough to fill the slot."""

    probability: float
    value: str


class State:
    """State of a conversation after the messages so far.

    Args:
        tools: tools of the observation.
        today: date of the conversation, ISO.

    Attributes:
        tools: tools of the observation.
        today: date of the conversation, ISO.
        tool: tool that the user wants called; ``None`` before the user has spoken.
        tool_is_new: whether the last user turn changed ``tool``.
        values: filled slots, by service and slot.
        guesses: most probable value of a slot that is not filled, by (service, slot).
        filled: (service, slot) of the slots that the last user turn filled, also with the value
            that they had.
        fresh: those of them whose value is new.
        possible: (probability, slot, value) of the values that the last user turn may have said of
            the service, whether they filled a slot or not.
        ready: arguments by name of a tool that could be called before the last user turn.
        calls: last arguments of each tool that was called, by name.
        awaited: arguments of calls whose results are still missing, in order.
        last_call: name of the tool called last.
        has_called: whether a call was made since the user's last words.
        status: status of the last call.
        rows: results of the last call.
        row: row that the conversation is about, by service.
        has_moved_on: whether the user's last words changed that row to the next one.
        found_phrases: canonical values by slot, for each phrase in the results so far.
        user: last words of the user.
        tokens: tokens of the user's last words.
        mentions: mentions in the user's last words.
        reply: stems of the agent's last words.
        turn: number of user turns so far.
    """

    def __init__(self, tools: ToolSchemas, today: str | None) -> None:
        self.tools = tools
        self.today = today
        self.tool: ToolSchema | None = None
        self.tool_is_new = False
        self.values: dict[str, dict[str, Filled]] = {}
        self.guesses: dict[tuple[str, str], Guess] = {}
        self.filled: set[tuple[str, str]] = set()
        self.fresh: set[tuple[str, str]] = set()
        self.possible: list[tuple[float, str, str]] = []
        self.ready: dict[str, dict[str, str]] = {}
        self.calls: dict[str, dict[str, str]] = {}
        self.awaited: list[dict[str, str]] = []
        self.last_call: str | None = None
        self.has_called = False
        self.status = ""
        self.rows: Sequence[Row] = ()
        self.row: dict[str, Row] = {}
        self.has_moved_on = False
        self.found_phrases: dict[str, dict[str, str]] = {}
        self.user = ""
        self.tokens: list[Token] = []
        self.mentions: list[Mention] = []
        self.reply: tuple[str, ...] = ()
        self.turn = 0

    @property
    def vocabulary(self) -> Vocabulary:
        """Word counts of the train split."""
        return self.tools.vocabulary

    @property
    def service(self) -> str:
        """Service that the conversation is about; ``""`` before the user has spoken."""
        return self.tool.service if self.tool else ""

    @property
    def stems(self) -> list[str]:
        """Stems of the user's last words."""
        return [token.stem for token in self.tokens]

    def begin_user_turn(self, user: str) -> None:
        """Record the user's next words, before anything is concluded from them."""
        self.turn += 1
        self.user, self.tokens, self.mentions = user, tokens_of(user), []
        self.filled, self.fresh, self.possible = set(), set(), []
        self.has_called, self.has_moved_on = False, False
        self.ready = {}
        if self.tool is not None:
            arguments = self.arguments(self.tool)
            if not self.tool.missing(arguments):
                self.ready = {self.tool.name: arguments}

    def arguments(self, tool: ToolSchema) -> dict[str, str]:
        """Return the arguments of a tool that are known.

        The row that was offered supplies missing required arguments. A transaction includes the
        default of each optional argument, a query leaves them out.
        """
        filled = self.values.get(tool.service, {})
        row = self.row.get(tool.service, {})
        arguments = {}
        for name, slot in tool.slots.items():
            if name in filled:
                arguments[name] = filled[name].value
            elif name in tool.required:
                if name in row:
                    arguments[name] = row[name]
            elif slot.default is not None and not tool.is_query:
                arguments[name] = slot.default
        return arguments

    def guessed_arguments(self, tool: ToolSchema) -> dict[str, str]:
        """Return the known arguments of a tool, and guesses for missing required ones."""
        arguments = self.arguments(tool)
        for name in tool.missing(arguments):
            if (tool.service, name) in self.guesses:
                arguments[name] = self.guesses[tool.service, name].value
        return arguments

    def fill(self, service: str, slot: str, value: str, said: str) -> None:
        """Fill a slot with a value."""
        slots = self.values.setdefault(service, {})
        self.filled.add((service, slot))
        if slot not in slots or slots[slot].value != value:
            self.fresh.add((service, slot))
        slots[slot] = Filled(value, said)

    def add_guess(self, service: str, slot: str, probability: float, value: str) -> None:
        """Record a value that a slot may have, unless a more probable one is known."""
        self.possible.append((probability, slot, value))
        known = self.guesses.get((service, slot))
        if known is None or probability >= known.probability:
            self.guesses[service, slot] = Guess(probability, value)

    def record_call(
        self, name: str, arguments: Mapping[str, str], status: str, rows: Sequence[Row]
    ) -> None:
        """Record a call and its results; the conversation is then about their first row."""
        tool = self.tools.by_name.get(name)
        if tool is None:
            return
        self.tool = tool
        self.last_call, self.has_called = name, True
        self.calls[name] = dict(arguments)
        self.status, self.rows = status, rows
        slots = self.values.setdefault(tool.service, {})
        for slot in arguments.keys() & tool.slots.keys():
            slots.setdefault(slot, Filled(arguments[slot], arguments[slot]))
        if rows:
            self.row[tool.service] = rows[0]
        if rows and status == "failure":
            self._adopt_counter_offer(tool, rows[0])
        for row in rows:
            self._add_phrases(row)

    def record_refused_call(self) -> None:
        """Record a call that was answered with an error."""
        self.has_called, self.status, self.rows = True, "error", ()

    def _adopt_counter_offer(self, tool: ToolSchema, proposal: Row) -> None:
        """Replace filled values by those of a failed transaction's row, for another try."""
        slots = self.values[tool.service]
        for slot in slots.keys() & tool.slots.keys() & proposal.keys():
            if slots[slot].value != proposal[slot]:
                slots[slot] = Filled(proposal[slot], proposal[slot])

    def _add_phrases(self, row: Row) -> None:
        for slot, value in row.items():
            if len(value) >= _TELLING and kind_of_value(value, self.today) == "text":
                self.found_phrases.setdefault(phrase_key(value), {})[slot] = value

    def record_reply(self, text: str) -> None:
        """Record the agent's reply, and the row of the last results that it is about."""
        self.reply = stems_of(text)
        named = self.named_row(text)
        if named is not None:
            self.row[self._service_of_rows] = named

    def named_row(self, text: str) -> Row | None:
        """Return the row of the last results of which a reply contains most values.

        Among rows with equally many, the row that the conversation is already about comes first.

        Returns:
            ``None`` if the reply contains no value of any row.
        """
        lower = text.lower()
        named = [sum(_is_in(value, lower) for value in row.values()) for row in self.rows]
        most = max(named, default=0)
        rows = [row for row, count in zip(self.rows, named, strict=True) if count == most > 0]
        current = self.row.get(self._service_of_rows)
        return next((row for row in rows if row is current), rows[0] if rows else None)

    def next_row(self) -> Row | None:
        """Return the row after the one that the conversation is about; ``None`` after the last."""
        current = self.row.get(self._service_of_rows)
        for row, following in itertools.pairwise(self.rows):
            if row is current:
                return following
        return None

    def go_to_next_row(self) -> None:
        """Record that the conversation is now about the next row, if there is one."""
        following = self.next_row()
        if following is not None:
            self.row[self._service_of_rows] = following
            self.has_moved_on = True

    @property
    def _service_of_rows(self) -> str:
        tool = self.tools.by_name.get(self.last_call or "")
        return tool.service if tool else ""


def _is_in(value: str, lower_text: str) -> bool:
    return len(value) > _TELLING and value.lower() in lower_text


def is_same(value: str, other: str, today: str | None) -> bool:
    """Return whether two values mean the same on a date."""
    return value == other or canonical(value, today) == canonical(other, today)
