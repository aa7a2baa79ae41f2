"""Conversations in OpenAI's chat format: writing and reading messages.

An environment's ``messages`` are one JSON text that only grows. `MessageLog` writes it; episodes
are written again by the same code, so that the text is equal byte for byte. `ConversationReader`
keeps what an agent knows of a conversation up to date, and decodes each message once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.types import ToolCall

Message = dict[str, Any]
"""A message in OpenAI's chat format: ``role``, ``content``, ``tool_calls``, ``tool_call_id``."""

_encode = msgspec.json.Encoder().encode


class MessageLog:
    """A conversation that messages can be appended to.

    Attributes:
        text: the messages so far, a JSON array without its closing bracket.
        call_count: how many calls the conversation has. They number the ids of the calls.
    """

    __slots__ = ("call_count", "text")

    def __init__(self, text: str = "[", call_count: int = 0) -> None:
        self.text = text
        self.call_count = call_count

    def copy(self) -> MessageLog:
        """Return a log with the same messages that can be continued on its own."""
        return MessageLog(self.text, self.call_count)

    @property
    def messages(self) -> str:
        """The conversation as a JSON array."""
        return f"{self.text}]"

    def add_user(self, words: str) -> None:
        """Append the user's words."""
        separator = "" if self.text == "[" else ","
        self.text = f"{self.text}{separator}{_spoken('user', words)}"

    def add_calls(self, calls: Sequence[ToolCall], results: Sequence[str] = ()) -> None:
        """Append the message that makes calls, and the messages that answer them.

        Args:
            calls: at least one.
            results: one JSON text for each call; none where the calls are not answered.

        Raises:
            ValueError: there are results, but not one for each call.
        """
        if results and len(results) != len(calls):
            raise ValueError(f"{len(calls)} calls, but {len(results)} results")
        ids = [f"call_{self.call_count + number}" for number in range(len(calls))]
        self.call_count += len(calls)
        requests = ",".join(map(_tool_call, ids, calls))
        answers = "".join(map(_tool_message, ids, results))
        self.text += f',{{"role":"assistant","content":null,"tool_calls":[{requests}]}}{answers}'

    def add_reply(self, words: str, user: str | None = None) -> None:
        """Append the agent's words, and what the user says to them, if anything."""
        reply = _spoken("assistant", words)
        # One concatenation, not two: the log is long and costs time to copy.
        self.text = (
            f"{self.text},{reply}"
            if user is None
            else f"{self.text},{reply},{_spoken('user', user)}"
        )


def _spoken(role: str, words: str) -> str:
    return f'{{"role":"{role}","content":{_encode(words).decode()}}}'


def _tool_call(call_id: str, call: ToolCall) -> str:
    arguments = _encode(_encode(call.arguments).decode()).decode()
    return (
        f'{{"id":"{call_id}","type":"function",'
        f'"function":{{"name":{_encode(call.name).decode()},"arguments":{arguments}}}}}'
    )


def _tool_message(call_id: str, content: str) -> str:
    return f',{{"role":"tool","tool_call_id":"{call_id}","content":{_encode(content).decode()}}}'


class ReadFunction(msgspec.Struct, frozen=True, gc=False):
    """The function of a tool call or of a tool on offer.

    Attributes:
        name: full name of the tool.
        arguments: arguments of a call, JSON.
        description: description of a tool on offer.
    """

    name: str = ""
    arguments: str = "{}"
    description: str = ""

    def decoded_arguments(self) -> dict[str, Any]:
        """Decode the arguments of a call.

        Raises:
            msgspec.DecodeError: they are not a JSON object.
        """
        return _decode_arguments(self.arguments)


class ReadCall(msgspec.Struct, frozen=True, gc=False):
    """A tool call of a message, or a tool on offer."""

    function: ReadFunction


class ReadMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of an observation, as agents read it.

    Attributes:
        role: ``user``, ``assistant`` or ``tool``.
        content: what was said; of ``tool``, the result as JSON.
        tool_calls: calls of an assistant's message.
    """

    role: str
    content: str | None = None
    tool_calls: tuple[ReadCall, ...] = ()


class ReadResult(msgspec.Struct, frozen=True, gc=False):
    """The result of a call, as agents read it.

    Attributes:
        name: full name of the tool.
        status: ``success``, ``failure`` or ``error``.
        results: rows, each a value by slot; ``None`` with an error.
    """

    name: str = ""
    status: str = "error"
    results: tuple[dict[str, str], ...] | None = None


_decode_messages = msgspec.json.Decoder(list[ReadMessage]).decode
_decode_tools = msgspec.json.Decoder(list[ReadCall]).decode
_decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode
_decode_objects = msgspec.json.Decoder(list[Message]).decode
read_result = msgspec.json.Decoder(ReadResult).decode
"""Decode the content of a ``tool`` message."""


_State = TypeVar("_State")


class ConversationReader(Generic[_State]):
    """Keeps a state of each conversation up to date, and decodes each message once.

    A conversation that continues one that was read before takes over its state, to which only the
    new messages are added. This saves time and never changes a state: a state depends on the
    conversation alone.

    Args:
        begin: returns the state of a conversation without messages, for the tools of an
            observation.
        add: adds the next message to a state.
        most: number of conversations that can alternate without being read again from the start.
    """

    def __init__(
        self,
        begin: Callable[[str], _State],
        add: Callable[[_State, ReadMessage], None],
        *,
        most: int = 1,
    ) -> None:
        self._begin = begin
        self._add = add
        self._most = most
        self._states: OrderedDict[tuple[str, str], _State] = OrderedDict()

    def read(self, messages: str, tools: str = "") -> _State:
        """Return the state of a conversation. The caller must not change it.

        Args:
            messages: ``messages`` of an observation.
            tools: ``tools`` of the observation, if states depend on them.

        Raises:
            msgspec.DecodeError: ``messages`` are not messages in JSON.
        """
        # Without its closing bracket a text is a prefix of the text of every continuation.
        text = messages.rstrip().removesuffix("]")
        state, known = self._take(text, tools)
        for message in _decode_messages(_new_part(messages, known)):
            self._add(state, message)
        self._states[tools, text] = state
        if len(self._states) > self._most:
            self._states.popitem(last=False)
        return state

    def _take(self, text: str, tools: str) -> tuple[_State, str]:
        """Remove the state of the beginning of a conversation, or create one.

        Returns:
            The state, and the text of the messages that are in it.
        """
        for known in reversed(self._states):
            if known[0] == tools and _continues(known[1], text):
                return self._states.pop(known), known[1]
        return self._begin(tools), ""


def _continues(known: str, text: str) -> bool:
    return text.startswith(known) and text[len(known) : len(known) + 1] in ("", ",")


def _new_part(messages: str, known: str) -> str:
    return f"[{messages[len(known) :].lstrip('[,')}" if known else messages


def read_functions(tools: str) -> list[ReadFunction]:
    """Decode the tools of an observation.

    Raises:
        msgspec.DecodeError: they are not tools.
    """
    return [tool.function for tool in _decode_tools(tools)]


def read_messages(messages: str) -> list[Message]:
    """Decode messages, with the arguments of calls as objects.

    Chat templates write arguments as JSON themselves; given a string they would quote it once more.

    Raises:
        DataError: they are not messages as an environment writes them.
    """
    try:
        return [_with_objects(message) for message in _decode_objects(messages)]
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"these messages are not an environment's: {error!r}") from error


def read_tools(tools: str) -> list[dict[str, Any]]:
    """Decode the tools on offer.

    Raises:
        DataError: they are not a list of objects.
    """
    try:
        return _decode_objects(tools)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"these tools are not an environment's: {error}") from error


def _with_objects(message: Message) -> Message:
    if message["role"] != "assistant" or "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = msgspec.json.decode(function["arguments"])
    return {**call, "function": {**function, "arguments": arguments}}
