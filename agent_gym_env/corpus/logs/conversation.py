"""A conversation of a log, and the builder through which the readers of all formats make it.

The rules that turn messages into turns are here, in one place:

- A turn begins with the user's words and ends before the next ones. If the agent speaks first, the
  first turn has no user's words.
- Messages of one speaker in a row are joined by a line break. The agent's words beside and between
  its calls are a part of its reply.
- Calls that are made while none waits for a result, after another call, begin a new round.
- The user's last words, which nobody answers, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.corpus.reader import Place
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.errors import DataError
from agent_gym_env.types import ToolStatus

MAX_TEXT_CHARS = 64 * 1024
"""Largest length of a reply, which is the environment's limit for an agent's text."""

MAX_CALLS = 16
"""Largest number of calls in one action of an environment; a larger round becomes several."""

MAX_ARGUMENTS_BYTES = 60 * 1024
"""Largest size of the arguments of a call as JSON: with its name, it fits into an action."""

_MAX_NAME_CHARS = 256
_MAX_DEPTH = 32
_INTEGERS = range(-(2**63), 2**64)

JOINED_USER = "joined_user_messages"
UNANSWERED = "unanswered_user"
NO_LAST_REPLY = "ends_without_reply"
LATE_SYSTEM = "system_message_inside"
REASONING = "reasoning_left_out"
UNREAD_DATE = "unread_date"
OTHER_TOOLS = "other_kinds_of_tools_left_out"
NOTES = {
    JOINED_USER: "messages of the user in a row are joined",
    UNANSWERED: "the user's last words, which nobody answers, are left out",
    NO_LAST_REPLY: "the last turn has calls, but no reply",
    LATE_SYSTEM: "a system message inside the conversation is added to the system prompt",
    REASONING: "reasoning of the model is left out",
    OTHER_TOOLS: "tools that are not functions are left out",
    UNREAD_DATE: "a date that cannot be read is left out",
}
"""Changes that the readers make to a conversation that they keep, by code."""


class Conversation(NamedTuple):
    """A conversation of a log.

    Attributes:
        task: the dialogue. Its services are empty, and a turn's service is the name of the first
            tool that it calls: the keys of tools are not known before the whole log is.
        tools: tools on offer; ``None`` if the log does not say.
        user: id of the user; ``None`` if the log does not say.
        split: name of the split; ``None`` if the log does not say.
        notes: codes of what was joined or left out, see `NOTES`.
        at: place in the log.
    """

    task: Task
    tools: tuple[FunctionTool, ...] | None
    user: str | None
    split: str | None
    notes: tuple[str, ...]
    at: Place


class BadConversationError(DataError):
    """A conversation that cannot be used. Its problem begins with a stable code and a colon."""

    @property
    def kind(self) -> str:
        """The code, for example ``call_without_result``, by which such errors are counted."""
        return self.problem.partition(":")[0]


def bad(kind: str, problem: str, at: Place) -> BadConversationError:
    """Return the error for a conversation that cannot be used."""
    return BadConversationError(
        f"{kind}: {problem}", file=at.file, dialogue_id=at.dialogue_id, pointer=at.pointer or None
    )


_THOUGHT = re.compile(r"<(think|thinking|scratch_pad)>.*?</\1>\s*", re.DOTALL)


def without_thoughts(text: str) -> str:
    """Leave out what a model wrote in the tags of its reasoning."""
    return _THOUGHT.sub("", text) if "</" in text else text


class LoggedCall(NamedTuple):
    """A call as a log writes it.

    Attributes:
        id: id by which its result refers to it; ``None`` if the log gives none.
        name: name of the tool.
        arguments: an object, or its JSON.
    """

    id: str | None
    name: Any
    arguments: Any


class ConversationBuilder:
    """Puts the messages of a conversation together.

    Args:
        at: place of the conversation.
    """

    def __init__(self, at: Place) -> None:
        self._at = at
        self._system: list[str] = []
        self._turns: list[Turn] = []
        self._notes: dict[str, None] = {}
        self._begin_turn(None)

    def _begin_turn(self, user: str | None) -> None:
        self._user = user
        self._texts: list[str] = []
        self._values: list[SpokenValue] = []
        self._replied = False
        self._calls: list[RecordedCall] = []
        self._open: dict[int, str | None] = {}
        self._round = 0

    def note(self, code: str) -> None:
        """Note what was joined or left out."""
        self._notes[code] = None

    def add_system(self, text: str) -> None:
        """Add a part of the system prompt; nothing for an empty text."""
        if not text:
            return
        if self._user is not None or self._turns or self._replied or self._calls:
            self.note(LATE_SYSTEM)
        self._system.append(text)

    def add_user(self, text: str, where: Callable[[], Place]) -> None:
        """Add words of the user."""
        if self._replied or self._calls:
            self._end_turn(where)
            self._begin_turn(text)
        elif self._user is None:
            self._user = text
        else:
            self.note(JOINED_USER)
            self._user += f"\n{text}"

    def add_reply(
        self, text: str, where: Callable[[], Place], values: Sequence[SpokenValue] = ()
    ) -> None:
        """Add words of the agent, perhaps none, and the slot values that are marked in them."""
        self._replied = True
        if text:
            self._texts.append(text)
        self._values += values
        found = len("\n".join(self._texts))
        if found > MAX_TEXT_CHARS:
            problem = f"a reply has {found:,} characters, at most {MAX_TEXT_CHARS:,} can be said"
            raise bad("too_long", problem, where())

    def add_call(self, call: LoggedCall, where: Callable[[], Place]) -> None:
        """Add a call of the agent, whose result comes later."""
        name = call.name
        if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME_CHARS:
            problem = f"expected the name of a tool, of {_MAX_NAME_CHARS} characters at most"
            raise bad("tool_name", f"{problem}, found {name!r:.60}", where())
        arguments = _arguments(call.arguments, where)
        last = self._calls[-1].round if self._calls else -1
        is_full = sum(each.round == last for each in self._calls) >= MAX_CALLS
        if self._calls and (not self._open or is_full):
            self._round += 1
        self._open[len(self._calls)] = call.id
        self._calls.append(RecordedCall(name, arguments, "success", "", round=self._round))

    def add_result(
        self,
        call_id: str | None,
        name: str | None,
        results: str,
        where: Callable[[], Place],
        *,
        status: ToolStatus = "success",
    ) -> None:
        """Add the result of a call.

        Args:
            call_id: id of the call; ``None`` for the first open call, or that of a name.
            name: name of the tool, if the log gives it.
            results: the result as JSON.
            where: returns the place.
            status: ``error`` if the log marks the result as one.
        """
        found = [
            number
            for number, open_id in self._open.items()
            if (call_id is not None and open_id == call_id)
            or ((call_id is None or open_id is None) and name in (None, self._calls[number].name))
        ]
        if not found:
            wanted = call_id if call_id is not None else name
            problem = f"there is no open call {wanted!r:.80} that this could be the result of"
            raise bad("result_without_call", problem, where())
        del self._open[found[0]]
        call = self._calls[found[0]]
        self._calls[found[0]] = msgspec.structs.replace(call, results=results, status=status)

    def _end_turn(self, where: Callable[[], Place]) -> None:
        if self._open:
            waiting = ", ".join(self._calls[number].name for number in self._open)
            problem = f"the user speaks or the log ends before the result of {waiting:.200}"
            raise bad("call_without_result", problem, where())
        self._turns.append(
            Turn(
                user=self._user or "",
                text="\n".join(self._texts),
                service=self._calls[0].name if self._calls else "",
                call=self._calls[0] if self._calls else None,
                values=tuple(self._values),
                more_calls=tuple(self._calls[1:]),
            )
        )

    def build(
        self,
        *,
        date: str | None = None,
        tools: tuple[FunctionTool, ...] | None = None,
        user: str | None = None,
        split: str | None = None,
    ) -> Conversation:
        """Return the conversation. Its place has its id.

        Raises:
            BadConversationError: the agent says and calls nothing, or a call has no result.
        """
        if self._replied or self._calls:
            self._end_turn(lambda: self._at)
            if self._calls and not self._texts:
                self.note(NO_LAST_REPLY)
        elif self._user is not None and self._turns:
            self.note(UNANSWERED)
        if not self._turns:
            raise bad("no_reply", "the assistant never says or calls anything", self._at)
        system = "\n\n".join(self._system) if self._system else None
        task = Task(self._at.dialogue_id or "", (), tuple(self._turns), date, system)
        return Conversation(task, tools, user, split, tuple(self._notes), self._at)


def _arguments(value: Any, where: Callable[[], Place]) -> dict[str, Any]:
    found = value
    if isinstance(value, str):
        try:
            found = msgspec.json.decode(value) if value.strip() else {}
        except (msgspec.DecodeError, RecursionError) as error:
            problem = f"expected a JSON object, found {value!r:.80}: {error}"
            raise bad("arguments", problem, where()) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise bad("arguments", f"expected a JSON object, found {value!r:.80}", where())
    flaw = json_flaw(found, _MAX_DEPTH)
    if flaw is not None:
        raise bad("arguments", flaw, where())
    size = len(msgspec.json.encode(found))
    if size > MAX_ARGUMENTS_BYTES:
        problem = f"arguments of {size:,} bytes, at most {MAX_ARGUMENTS_BYTES:,} can be sent"
        raise bad("too_long", problem, where())
    return found


def json_flaw(value: Any, levels: int) -> str | None:
    """Return why a decoded JSON value cannot be kept; ``None`` if it can.

    Args:
        value: the value.
        levels: largest number of lists and objects inside one another.
    """
    deeper = [value]
    for _ in range(levels + 1):
        found, deeper = deeper, []
        for each in found:
            if isinstance(each, dict):
                deeper += each.values()
            elif isinstance(each, list):
                deeper += each
            elif isinstance(each, int) and each not in _INTEGERS:
                return "an integer has more than 64 bits"
        if not deeper:
            return None
    return f"lists and objects are nested more than {levels} levels deep"


def result_json(content: Any) -> str:
    """Return the JSON of a tool's result: a text that is an object or array is that, others stay.

    Args:
        content: a JSON value as the log has it.
    """
    if isinstance(content, str) and content.lstrip()[:1] in ("{", "["):
        try:
            msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError):
            pass  # a text that only begins like JSON
        else:
            return content.strip()
    return msgspec.json.encode(content).decode()
