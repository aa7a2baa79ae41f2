"""Messages, tool calls and tools in OpenAI's chat format: the one module that knows its layout.

An environment's ``messages`` are one JSON text that only grows.

- `MessageLog` writes it. Recorded episodes are written again by the same class, so the text is
  equal byte for byte.
- `ConversationReader` keeps the state of a conversation up to date, and decodes each message once.
- The functions on `Message` objects read and change single messages, for prompts and training rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.types import ToolCall

Message = dict[str, Any]
"""A message in OpenAI's chat format: ``role``, ``content``, ``tool_calls``, ``tool_call_id``."""

Tool = dict[str, Any]
"""A tool in OpenAI's function format: ``type`` and ``function``."""

_encode = msgspec.json.Encoder().encode


class MessageLog:
    """A conversation that messages can be appended to.

    Attributes:
        text: the messages so far, a JSON array without its closing bracket.
        call_count: number of calls in the conversation; the next call's id ends with it.
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

    def add_system(self, prompt: str) -> None:
        """Append a system prompt."""
        self._append(_spoken("system", prompt))

    def add_user(self, words: str) -> None:
        """Append the user's words."""
        self._append(_spoken("user", words))

    def _append(self, messages: str) -> None:
        """Append messages; the agent's may be the first, where no user has spoken."""
        separator = "" if self.text == "[" else ","
        self.text = f"{self.text}{separator}{messages}"

    def add_calls(self, calls: Sequence[ToolCall], results: Sequence[str] = ()) -> None:
        """Append the message that makes calls, and the messages that answer them.

        Args:
            calls: at least one.
            results: one JSON text for each call; empty if the calls are not answered.

        Raises:
            ValueError: there are results, but not one for each call.
        """
        if results and len(results) != len(calls):
            raise ValueError(f"{len(calls)} calls, but {len(results)} results")
        ids = [f"call_{self.call_count + number}" for number in range(len(calls))]
        self.call_count += len(calls)
        requests = ",".join(map(_tool_call, ids, calls))
        answers = "".join(map(_tool_message, ids, results))
        separator = "" if self.text == "[" else ","
        self.text += (
            f'{separator}{{"role":"assistant","content":null,"tool_calls":[{requests}]}}{answers}'
        )

    def add_reply(self, words: str, user: str | None = None) -> None:
        """Append the agent's words, and what the user says to them, if anything."""
        reply = _spoken("assistant", words)
        separator = "" if self.text == "[" else ","
        # One concatenation, not two: the log is long and costs time to copy.
        self.text = (
            f"{self.text}{separator}{reply}"
            if user is None
            else f"{self.text}{separator}{reply},{_spoken('user', user)}"
        )


def begin_log(user: str, system: str | None = None) -> MessageLog:
    """Begin a conversation.

    Args:
        user: the user's first words; ``""`` if the agent speaks first.
        system: system prompt, if it is shown.
    """
    log = MessageLog()
    if system is not None:
        log.add_system(system)
    if user:
        log.add_user(user)
    return log


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
    """The function of a tool call or of an offered tool.

    Attributes:
        name: full name of the tool.
        arguments: arguments of a call, JSON.
        description: description of an offered tool.
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


_Function = TypeVar("_Function")


class WithFunction(msgspec.Struct, Generic[_Function], frozen=True, gc=False):
    """A tool call of a message, or an offered tool.

    Attributes:
        function: the name and the arguments or parameters, decoded as a struct of the reader's.
    """

    function: _Function


class ReadMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of an observation, as agents read it.

    Attributes:
        role: ``user``, ``assistant`` or ``tool``.
        content: the words; for ``tool``, the result as JSON.
        tool_calls: calls of an assistant's message; see `calls`.
    """

    role: str
    content: str | None = None
    tool_calls: tuple[WithFunction[ReadFunction], ...] = ()

    @property
    def calls(self) -> list[ReadFunction]:
        """The functions that an assistant's message calls."""
        return [call.function for call in self.tool_calls]


class ReadResult(msgspec.Struct, frozen=True, gc=False):
    """The result of a call, as agents read it.

    Attributes:
        name: full name of the tool.
        status: ``success``, ``failure`` or ``error``.
        results: the result, any JSON value; ``None`` with an error.
    """

    name: str = ""
    status: str = "error"
    results: Any = None

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of the result, see `rows_of`."""
        return rows_of(self.results)


def rows_of(results: Any) -> list[dict[str, str]]:
    """Return the rows of a tool's result: the objects of a list, or a single object.

    If an object has a list of objects, as in ``{"count": 2, "books": [{…}, {…}]}``, these are the
    rows. Members that are not texts, numbers or booleans are left out, the others are written as
    text.
    """
    if isinstance(results, dict):
        results = next(filter(_are_objects, results.values()), [results])
    objects = results if isinstance(results, list) else []
    return [
        {name: str(value) for name, value in each.items() if isinstance(value, (str, int, float))}
        for each in objects
        if isinstance(each, dict)
    ]


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)


_decode_messages = msgspec.json.Decoder(list[ReadMessage]).decode
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
        for message in new_messages(messages, known):
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


def new_messages(messages: str, known: str = "") -> list[ReadMessage]:
    """Decode the messages of an observation that come after those that are known.

    Args:
        messages: messages in JSON.
        known: beginning of ``messages`` that was read before, without its closing bracket.

    Raises:
        msgspec.DecodeError: ``messages`` are not messages in JSON.
    """
    return _decode_messages(f"[{messages[len(known) :].lstrip('[,')}" if known else messages)


def functions_reader(kind: type[_Function]) -> Callable[[str | bytes], list[_Function]]:
    """Return a decoder of the tools of an observation.

    Args:
        kind: struct that a tool's function is decoded as.

    Returns:
        A function that decodes JSON to the functions of all tools, and raises
        `msgspec.DecodeError` if they are not tools of this kind.
    """
    decode = msgspec.json.Decoder(list[WithFunction[kind]]).decode  # type: ignore[valid-type]

    def read(tools: str | bytes) -> list[_Function]:
        return [tool.function for tool in decode(tools)]

    return read


read_functions = functions_reader(ReadFunction)
"""Decode the tools of an observation to their names and descriptions."""


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


def _with_objects(message: Message) -> Message:
    if message["role"] != "assistant":
        return message
    return with_arguments(message, msgspec.json.decode)


def read_tools(tools: str) -> list[Tool]:
    """Decode the tools of an observation as objects.

    Raises:
        DataError: they are not a list of objects.
    """
    try:
        return _decode_objects(tools)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"these tools are not an environment's: {error}") from error


class CallObject(NamedTuple):
    """A call of a message that was decoded to plain objects.

    Attributes:
        id: id of the call within the conversation; ``""`` if it has none.
        name: full name of the tool.
        arguments: arguments as JSON or as an object.
    """

    id: str
    name: str
    arguments: Any


def calls_of(message: Mapping[str, Any]) -> list[CallObject]:
    """Return the calls of a message; empty for a message without calls."""
    return [
        CallObject(call.get("id", ""), call["function"]["name"], call["function"].get("arguments"))
        for call in message.get("tool_calls") or ()
    ]


def with_arguments(message: Message, change: Callable[[Any], Any]) -> Message:
    """Return a message with other arguments in its calls.

    Args:
        message: a message of any role; it is not changed.
        change: returns the new arguments, given the old ones or ``None`` for none.
    """

    def changed(function: Mapping[str, Any]) -> dict[str, Any]:
        return {**function, "arguments": change(function.get("arguments"))}

    if not message.get("tool_calls"):
        return message
    calls = [with_function(call, changed) for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def with_call_ids(message: Message, ids: Mapping[str, str]) -> Message:
    """Return a message with other ids in its calls, or in the result that it carries.

    Args:
        message: a message of any role; it is not changed.
        ids: new id by old id; other ids stay as they are.
    """
    if answered_call(message) in ids:
        return {**message, "tool_call_id": ids[message["tool_call_id"]]}
    if not any(call.id in ids for call in calls_of(message)):
        return message
    calls = [{**call, "id": ids.get(call["id"], call["id"])} for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def answered_call(message: Mapping[str, Any]) -> str | None:
    """Return the id of the call whose result a message carries; ``None`` for another message."""
    return message.get("tool_call_id")


def with_function(item: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a call or a tool with another function.

    Args:
        item: a call of a message, or a tool; it is not changed.
        change: returns the new function, given the old one.
    """
    return {**item, "function": change(item["function"])}


def call_object(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    """Write a call of a message.

    Args:
        call_id: id of the call within the conversation.
        name: full name of the tool.
        arguments: arguments as JSON; as an object for chat templates.
    """
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def call_message(calls: Sequence[dict[str, Any]], content: str | None = None) -> Message:
    """Write the assistant's message that makes calls, each written by `call_object`."""
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result_message(call_id: str, content: str) -> Message:
    """Write the message with the result of a call, a JSON text."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def make_tool(name: str, description: str, parameters: dict[str, Any]) -> Tool:
    """Write a tool.

    Args:
        name: full name of the tool.
        description: description for the model.
        parameters: JSON schema of the arguments.
    """
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def functions_of(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the functions of tools: name, description and parameters of each."""
    return [tool["function"] for tool in tools]


def tool_names(tools: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of tools."""
    return [function["name"] for function in functions_of(tools)]


def required_tool(tool_choice: str | Mapping[str, Any] | None) -> str | None:
    """Return the tool that a request's ``tool_choice`` names; ``None`` if it names no tool."""
    return tool_choice["function"]["name"] if isinstance(tool_choice, Mapping) else None
