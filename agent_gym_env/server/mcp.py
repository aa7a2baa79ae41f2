"""A session as a server of the Model Context Protocol, so that any MCP client can be the agent.

The protocol is JSON-RPC, and a server of tools needs four of its methods. They are written here in
place of a library, because the two lines of the SDK for Python exclude one another and this server
has to work beside both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import msgspec

from agent_gym_env import __version__
from agent_gym_env.chat import functions_of, read_tools
from agent_gym_env.errors import AgentGymError
from agent_gym_env.server.session import Reply, Session
from agent_gym_env.types import Action, AtLeast0, ToolCall

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions of the protocol that are answered, the newest first."""

REPLY_KEY = "agent-gym/reply"
"""Key of a result's ``_meta`` with the reward and the end of the episode."""

REPLY_TO_USER = "reply_to_user"
READ_CONVERSATION = "read_conversation"
START_EPISODE = "start_episode"

MAX_MESSAGE_BYTES = 1 << 20
"""Length of a message above which it is refused without being read."""

OVER = f"The conversation is over. {START_EPISODE} begins another one."

_PARSE_ERROR = -32700
_INVALID_REQUEST = -32600
_UNKNOWN_METHOD = -32601
_INVALID_PARAMS = -32602
_FAILED = -32603

_INSTRUCTIONS = """\
You are the assistant in a conversation with one user{today}. The tools look things up and act for \
the user. The user hears only what you say with {reply}, which ends your turn and returns what the \
user says next. A call of another tool keeps your turn open. {read} returns the conversation so \
far. When the conversation is over, {start} begins another one, with other tools.

The user's first words:
{words}"""

_OWN_TOOLS = {
    REPLY_TO_USER: (
        "Say something to the user. This ends your turn. The result is what the user says next, or "
        "that the conversation is over.",
        {"text": {"type": "string", "description": "Your words."}},
        ["text"],
    ),
    READ_CONVERSATION: (
        "Return the conversation so far: what the user said, what you said, and your calls with "
        "their results.",
        {},
        [],
    ),
    START_EPISODE: (
        "Begin another conversation, and leave the present one if it is not over. The result is "
        "what its user says first. The list of tools may change.",
        {
            "dialogue_id": {
                "type": "string",
                "description": "Id of the dialogue; by default one is drawn.",
            },
            "seed": {"type": "integer", "minimum": 0, "description": "Seed of the draw."},
        },
        [],
    ),
}


class _Request(msgspec.Struct):
    """A message of a client: a request, or a notification, which has no id."""

    jsonrpc: str
    method: str
    id: int | str | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, Any] = {}


class _Call(msgspec.Struct):
    """Parameters of ``tools/call``."""

    name: str
    arguments: dict[str, Any] | None = None


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``reply_to_user``."""

    text: str


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``read_conversation``."""


class _Start(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``start_episode``."""

    dialogue_id: str | None = None
    seed: AtLeast0 | None = None


class _Refused(Exception):  # noqa: N818  (an answer to the client, not a failure of the program)
    """A message that is answered with an error of the protocol."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class McpServer:
    """Answers the messages of one MCP client, which plays the agent in a session.

    The client sees the tools of the dialogue in play and three more: ``reply_to_user``,
    ``read_conversation`` and ``start_episode``. Each call of a tool of the dialogue, and each
    ``reply_to_user``, is one step of the session. The first episode begins with the first message
    that asks for tools. Where another one has other tools, the client is notified.

    Each result has the step's reward and whether the episode has ended in its ``_meta``, under
    `REPLY_KEY`. A call that is not a step has the reward ``None``. A client does not show ``_meta``
    to its model. Arguments that one of the three cannot take give a result with ``isError``, which
    it does show, so that the model can call again.
    """

    def __init__(
        self,
        session: Session,
        *,
        seed: int | None = None,
        dialogue_id: str | None = None,
        reveal_info: bool = False,
        on_step: Callable[[Action, Reply], None] | None = None,
    ) -> None:
        """Begin without an episode.

        Args:
            session: the session that the client plays.
            seed: seed of the first episode. Later ones are drawn by the same generator.
            dialogue_id: id of the first episode's dialogue; by default one is drawn.
            reveal_info: whether ``_meta`` has the whole reply: the observation, and the info with
                what the corpus did. Only for a client that trains or records.
            on_step: is called with each action and its reply.
        """
        self._session = session
        self._first = _Start(dialogue_id, seed)
        self._reveal_info = reveal_info
        self._on_step = on_step
        self._tools = ""
        self._methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "initialize": self._initialize,
            "ping": lambda _: {},
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }

    def answer(self, message: bytes | str) -> list[bytes]:
        """Answer a message of the client.

        Args:
            message: one JSON-RPC message.

        Returns:
            Messages for the client in order, without line ends. A notification has no answer.
        """
        request_id: int | str | None = None
        tools = self._tools
        try:
            request = _read(message)
            if request is None or request.id is msgspec.UNSET:
                return []
            request_id = request.id
            answer: dict[str, Any] = {"result": self._handle(request)}
        except _Refused as refused:
            answer = {"error": {"code": refused.code, "message": str(refused)}}
        answers = [_written({"jsonrpc": "2.0", "id": request_id, **answer})]
        if tools not in ("", self._tools):
            changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            answers.insert(0, _written(changed))
        return answers

    def _handle(self, request: _Request) -> dict[str, Any]:
        method = self._methods.get(request.method)
        if method is None:
            raise _Refused(_UNKNOWN_METHOD, f"unknown method {request.method[:200]!r}")
        return method(request.params)

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = params.get("protocolVersion")
        reply = self._in_play()
        date = reply.info["date"]
        instructions = _INSTRUCTIONS.format(
            today=f". Today is {date}" if date else "",
            reply=REPLY_TO_USER,
            read=READ_CONVERSATION,
            start=START_EPISODE,
            words=reply.observation["user"] or "(none: you speak first)",
        )
        return {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "agent-gym", "version": __version__},
            "instructions": instructions,
        }

    def _in_play(self) -> Reply:
        """Return the last reply, of the first episode's beginning if none was begun."""
        return self._session.last or self._begin(self._first)

    def _begin(self, start: _Start) -> Reply:
        options = None if start.dialogue_id is None else {"dialogue_id": start.dialogue_id}
        try:
            reply = self._session.reset(seed=start.seed, options=options)
        except (ValueError, AgentGymError) as error:
            raise _Refused(_INVALID_PARAMS, str(error)) from error
        self._tools = reply.observation["tools"]
        return reply

    def _list_tools(self, params: dict[str, Any]) -> dict[str, Any]:
        offered = functions_of(read_tools(self._in_play().observation["tools"]))
        taken = sorted({function["name"] for function in offered} & _OWN_TOOLS.keys())
        if taken:
            raise _Refused(
                _INVALID_PARAMS,
                f"the dialogue has a tool with the name {taken[0]!r}, which this server needs; "
                "rename it in the corpus",
            )
        dialogue = [
            {
                "name": function["name"],
                "description": function.get("description", ""),
                "inputSchema": function.get("parameters") or {"type": "object"},
            }
            for function in offered
        ]
        own = [
            {
                "name": name,
                "description": description,
                "inputSchema": {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": False,
                },
            }
            for name, (description, properties, required) in _OWN_TOOLS.items()
        ]
        return {"tools": [*dialogue, *own]}

    def _call_tool(self, params: dict[str, Any]) -> dict[str, Any]:
        call = _converted(params, _Call)
        reply = self._in_play()
        try:
            return self._called_with(call.name, call.arguments or {}, reply)
        except _Refused as refused:
            if refused.code != _INVALID_PARAMS:
                raise
            return self._not_done(f"{call.name} was not done: {refused}", reply)

    def _called_with(self, name: str, arguments: dict[str, Any], reply: Reply) -> dict[str, Any]:
        if name == START_EPISODE:
            return self._opened(self._begin(_converted(arguments, _Start)))
        if name == READ_CONVERSATION:
            _converted(arguments, _Nothing)
            return self._conversation(reply)
        if reply.over:
            return self._not_done(OVER, reply)
        if name == REPLY_TO_USER:
            return self._said(self._step(Action(_converted(arguments, _Words).text)))
        calls = (ToolCall(name, arguments),)
        return self._called(self._step(Action(tool_calls=calls)))

    def _step(self, action: Action) -> Reply:
        try:
            reply = self._session.step(action)
        except AgentGymError as error:  # such as the model of a simulated user
            raise _Refused(_FAILED, str(error)) from error
        if self._on_step is not None:
            self._on_step(action, reply)
        return reply

    def _opened(self, reply: Reply) -> dict[str, Any]:
        words, info = reply.observation["user"], reply.info
        opened = {"user": words, "dialogue_id": info["dialogue_id"], "date": info["date"]}
        return self._result(words, opened)

    def _conversation(self, reply: Reply) -> dict[str, Any]:
        messages = reply.observation["messages"]
        content = {"messages": msgspec.Raw(messages.encode()), "over": reply.over}
        return self._result(messages, content, stepped=False)

    def _not_done(self, problem: str, reply: Reply) -> dict[str, Any]:
        content = {"error": problem, "over": reply.over}
        return self._result(problem, content, is_error=True, stepped=False)

    def _said(self, reply: Reply) -> dict[str, Any]:
        words = reply.observation["user"]
        text = "\n\n".join(part for part in (words, OVER if reply.over else "") if part)
        return self._result(text, {"user": words, "over": reply.over})

    def _called(self, reply: Reply) -> dict[str, Any]:
        """Return the result of a call; the call may have closed the turn, being one too many."""
        (raw,) = msgspec.json.decode(reply.observation["tool_result"], type=list[msgspec.Raw])
        result = msgspec.json.decode(raw)
        content: dict[str, Any] = dict(result)
        texts = [bytes(raw).decode()]
        words = reply.observation["user"]
        if words or reply.over:
            content |= {"user": words, "over": reply.over}
            closed = "Your turn was closed: it had too many calls. The user says:"
            texts += [f"{closed} {words}"] if words else []
            texts += [OVER] if reply.over else []
        return self._result("\n\n".join(texts), content, is_error=result["status"] == "error")

    def _result(
        self,
        text: str,
        content: Mapping[str, Any],
        *,
        is_error: bool = False,
        stepped: bool = True,
    ) -> dict[str, Any]:
        return {
            "content": [{"type": "text", "text": text}],
            "structuredContent": content,
            "isError": is_error,
            "_meta": {REPLY_KEY: self._revealed(stepped)},
        }

    def _revealed(self, stepped: bool) -> object:
        reply = self._in_play()
        if not stepped:
            reply = msgspec.structs.replace(reply, reward=None)
        if self._reveal_info:
            return reply
        return {
            "reward": reply.reward,
            "reward_valid": reply.info["reward_valid"],
            "terminated": reply.terminated,
            "truncated": reply.truncated,
            "dialogue_id": reply.info["dialogue_id"],
            "turn": reply.info["turn"],
        }


def serve_stdio(server: McpServer, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer the messages of a client, one a line, until there are no more.

    Args:
        server: what answers them.
        source: stream of the client's messages, such as the standard input.
        sink: stream for the answers.
    """
    while line := source.readline(MAX_MESSAGE_BYTES + 1):
        if not line.endswith(b"\n") and len(line) > MAX_MESSAGE_BYTES:
            _skip_line(source)
            answers = [refused_length()]
        else:
            answers = server.answer(line) if line.strip() else []
        for answer in answers:
            sink.write(answer + b"\n")
        sink.flush()


def _skip_line(source: BinaryIO) -> None:
    while (rest := source.readline(MAX_MESSAGE_BYTES)) and not rest.endswith(b"\n"):
        pass


def refused_length() -> bytes:
    """Return the answer to a message that is too long."""
    problem = f"a message may have {MAX_MESSAGE_BYTES:,} bytes"
    error = {"code": _INVALID_REQUEST, "message": problem}
    return _written({"jsonrpc": "2.0", "id": None, "error": error})


def _read(message: bytes | str) -> _Request | None:
    """Read a message; ``None`` for the answer to a request, since this server sends none."""
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _Refused(_PARSE_ERROR, f"not JSON: {error}") from error
    if isinstance(value, dict) and "method" not in value and {"result", "error"} & value.keys():
        return None
    try:
        request = msgspec.convert(value, _Request)
    except msgspec.ValidationError as error:
        raise _Refused(_INVALID_REQUEST, f"not a JSON-RPC 2.0 request: {error}") from error
    if request.jsonrpc != "2.0":
        raise _Refused(_INVALID_REQUEST, f'"jsonrpc" must be "2.0", not {request.jsonrpc[:50]!r}')
    return request


def _converted(value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _Refused(_INVALID_PARAMS, str(error)) from error


def _written(message: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(message)
