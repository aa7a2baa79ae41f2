"""What an agent knows in the middle of a conversation: what is wanted, filled, found and said."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent_gym_env.retrieval.mentions import Mention
from agent_gym_env.retrieval.offer import Offer, OfferedTool
from agent_gym_env.retrieval.tokens import Token, phrase_key, stems_of
from agent_gym_env.retrieval.vocabulary import Vocabulary, kind_of_value
from agent_gym_env.values.equality import canonical

Row = Mapping[str, str]

_TELLING = 3
"""A value of fewer characters in a reply does not tell which row the reply is about."""


class Filled(NamedTuple):
    """A slot's value.

    Attributes:
        value: as an argument wants it.
        said: as it was said.
    """

    value: str
    said: str


class Guess(NamedTuple):
    """A value that a slot may have, too unsure to count as filled."""

    probability: float
    value: str


class State:
    """A conversation up to now.

    Attributes:
        offer: the tools on offer.
        today: the day of the conversation, ISO.
        tool: the one that the conversation is heading to; ``None`` before the user has spoken.
        tool_is_new: whether the last user turn changed it.
        values: filled slots, by service and slot.
        guesses: for slots that are not filled.
        fresh: (service, slot) of what the last user turn filled or changed.
        ready: arguments of the tools that could be called already before the last user turn.
        calls: last arguments of each tool that was called.
        awaited: arguments of calls whose results are still to come, in order.
        last_call: name of the tool called last.
        has_called: whether a call was made since the user's last words.
        status: of the last call.
        rows: results of the last call.
        row: for each service, the row that the conversation is about.
        has_moved_on: whether the user's last words made it another row.
        found_phrases: canonical values by slot, for each phrase in the results so far.
        user: the user's last words.
        tokens: of the user's last words.
        mentions: of the user's last words.
        reply: stems of the agent's last words.
        turn: how many times the user has spoken.
    """

    def __init__(self, offer: Offer, today: str) -> None:
        self.offer = offer
        self.today = today
        self.tool: OfferedTool | None = None
        self.tool_is_new = False
        self.values: dict[str, dict[str, Filled]] = {}
        self.guesses: dict[tuple[str, str], Guess] = {}
        self.fresh: set[tuple[str, str]] = set()
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
        """What is known of words."""
        return self.offer.vocabulary

    @property
    def service(self) -> str:
        """The service that the conversation is about; ``""`` before the user has spoken."""
        return self.tool.service if self.tool else ""

    @property
    def stems(self) -> list[str]:
        """The stems of the user's last words."""
        return [token.stem for token in self.tokens]

    def arguments(self, tool: OfferedTool) -> dict[str, str]:
        """Fill a tool's arguments as far as they are known.

        A required one may come from the row that was offered; a transaction is confirmed with its
        defaults spelt out, a query leaves them away.
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

    def guessed_arguments(self, tool: OfferedTool) -> dict[str, str]:
        """Fill a tool's arguments, the missing required ones with what they may be."""
        arguments = self.arguments(tool)
        for name in tool.missing(arguments):
            if (tool.service, name) in self.guesses:
                arguments[name] = self.guesses[tool.service, name].value
        return arguments

    def fill(self, service: str, slot: str, value: str, said: str) -> None:
        """Note that a slot has a value."""
        slots = self.values.setdefault(service, {})
        if slot not in slots or slots[slot].value != value:
            self.fresh.add((service, slot))
        slots[slot] = Filled(value, said)

    def suspect(self, service: str, slot: str, probability: float, value: str) -> None:
        """Note that a slot may have a value."""
        known = self.guesses.get((service, slot))
        if known is None or probability >= known.probability:
            self.guesses[service, slot] = Guess(probability, value)

    def called(
        self, name: str, arguments: Mapping[str, str], status: str, rows: Sequence[Row]
    ) -> None:
        """Note a call and its results; the conversation is then about their first row."""
        tool = self.offer.tools.get(name)
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
            self._take_over(tool, rows[0])
        for row in rows:
            self._learn_phrases(row)

    def refused(self) -> None:
        """Note a call that was answered with an error."""
        self.has_called, self.status, self.rows = True, "error", ()

    def _take_over(self, tool: OfferedTool, proposal: Row) -> None:
        """Take a failed transaction's row as the values for another try: it is a counter-offer."""
        slots = self.values[tool.service]
        for slot in slots.keys() & tool.slots.keys() & proposal.keys():
            if slots[slot].value != proposal[slot]:
                slots[slot] = Filled(proposal[slot], proposal[slot])

    def _learn_phrases(self, row: Row) -> None:
        for slot, value in row.items():
            if len(value) >= _TELLING and kind_of_value(value, self.today) == "text":
                self.found_phrases.setdefault(phrase_key(value), {})[slot] = value

    def said(self, text: str) -> None:
        """Note the agent's reply, and which row of the last results it is about."""
        self.reply = stems_of(text)
        named = self.named_row(text)
        if named is not None:
            self.row[self._service_of_rows] = named

    def named_row(self, text: str) -> Row | None:
        """Give the row of the last results of which a reply names most values, if it names one.

        Of several that it names equally it is the one that the conversation is about already.
        """
        lower = text.lower()
        named = [sum(_is_in(value, lower) for value in row.values()) for row in self.rows]
        most = max(named, default=0)
        rows = [row for row, count in zip(self.rows, named, strict=True) if count == most > 0]
        current = self.row.get(self._service_of_rows)
        return next((row for row in rows if row is current), rows[0] if rows else None)

    def next_row(self) -> Row | None:
        """Give the row behind the one that the conversation is about, if there is one."""
        current = self.row.get(self._service_of_rows)
        for row, following in itertools.pairwise(self.rows):
            if row is current:
                return following
        return None

    def move_on(self) -> None:
        """Let the conversation be about the next row."""
        following = self.next_row()
        if following is not None:
            self.row[self._service_of_rows] = following
            self.has_moved_on = True

    @property
    def _service_of_rows(self) -> str:
        tool = self.offer.tools.get(self.last_call or "")
        return tool.service if tool else ""


def _is_in(value: str, lower_text: str) -> bool:
    return len(value) > _TELLING and value.lower() in lower_text


def is_same(value: str, other: str, today: str) -> bool:
    """Whether two values are the same."""
    return value == other or canonical(value, today) == canonical(other, today)
