"""The tool backend ``mcp``: tools of a server that speaks the Model Context Protocol."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from agent_gym_env.errors import AgentGymError
from agent_gym_env.extras import require
from agent_gym_env.tools.live import LiveBackend, ToolFailure
from agent_gym_env.tools.validation import ToolCatalogue

Seconds = Annotated[float, msgspec.Meta(gt=0)]

_START_S = 120.0
"""Time limit of connecting to a server."""

_STOP_S = 10.0
"""Time that a connection may take to close; the SDK kills a server that does not end itself."""

_MAX_RESULT_BYTES = 1 << 20


class McpTools:
    """Makes the backends of dialogues whose calls an MCP server answers.

    A call that exceeds the time limit, or a server that ends, closes the connection; the next call
    opens another one.

    Args:
        command: command that starts a server, which is spoken to over its standard input and
            output.
        url: address of a running server with the transport Streamable HTTP, in place of a command.
        env: names of the environment variables that the started server sees beside ``PATH`` and
            the like. Configurations are kept in journals, so that values do not belong in them.
        timeout_s: time limit of a call, in seconds.
        restart: whether each dialogue begins with another connection, and another started server.

    Raises:
        ValueError: there is neither a command nor an address, or both.
        MissingDependency: the library ``mcp`` is not installed.
        AgentGymError: the server does not answer.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] | None = None,
        url: str | None = None,
        env: Sequence[str] = (),
        timeout_s: Seconds = 30.0,
        restart: bool = False,
    ) -> None:
        if bool(command) == bool(url):
            raise ValueError(
                "tool backend 'mcp' needs either \"command\", a list such as "
                '["python", "server.py"], or "url", not both or neither'
            )
        require("mcp", extra="mcp")
        self._options: dict[str, Any] = {
            "command": command, "url": url, "env": env, "timeout_s": timeout_s, "restart": restart
        }  # fmt: skip
        self._shared = self._connection()
        self._shared.start()

    def __reduce__(self) -> tuple[object, ...]:
        """Copy the tools, with a separate connection."""
        return _rebuilt, (self._options,)

    def backend(self, catalogue: ToolCatalogue) -> LiveBackend:
        """Return a backend for a dialogue."""
        return LiveBackend(catalogue, self._begin)

    def _begin(self) -> McpConnection:
        tools = self._shared
        if self._options["restart"]:
            self._shared = self._connection()
        return tools

    def _connection(self) -> McpConnection:
        command, url, env = (self._options[each] for each in ("command", "url", "env"))
        if url:
            return McpConnection(lambda: url, url, self._options["timeout_s"])
        return McpConnection(
            lambda: _started_server(command, env), " ".join(command), self._options["timeout_s"]
        )


def _rebuilt(options: dict[str, Any]) -> McpTools:
    return McpTools(**options)


def _started_server(command: Sequence[str], env: Sequence[str]) -> Any:
    mcp = require("mcp", extra="mcp")
    given = {name: os.environ[name] for name in env if name in os.environ}
    return mcp.StdioServerParameters(command=command[0], args=list(command[1:]), env=given)


class McpConnection:
    """A connection to a server, opened when it is needed.

    Args:
        server: returns what the SDK's client connects to: an address, or the command of a server.
        name: name of the server in messages.
        timeout_s: as in `McpTools`.
    """

    def __init__(self, server: Callable[[], Any], name: str, timeout_s: float) -> None:
        self._server = server
        self._name = name
        self._timeout_s = timeout_s
        self._session: _Session | None = None

    def start(self) -> _Session:
        """Connect, unless there is a connection, and return it.

        Raises:
            AgentGymError: the server does not answer.
        """
        if self._session is not None and self._session.is_open():
            return self._session
        session = self._session = _Session(self._server())
        self._finalizer = weakref.finalize(self, session.close)
        try:
            session.opened.result(_START_S)
        except concurrent.futures.TimeoutError as error:
            self.end()
            problem = f"no answer within {_START_S:g} s"
            raise AgentGymError(f"the MCP server {self._name!r}: {problem}") from error
        except Exception as error:
            self.end()
            raise AgentGymError(f"the MCP server {self._name!r}: {_explained(error)}") from error
        return session

    def call(self, name: str, arguments: dict[str, object]) -> bytes:
        """Call a tool, and return its result as JSON.

        Raises:
            ToolFailure: the tool reports an error or took too long, or the connection is lost.
        """
        try:
            session = self.start()
        except AgentGymError as error:
            raise ToolFailure(f"tool_crashed: {_on_one_line(error)}") from error
        asked = session.ask(name, arguments)
        try:
            result = asked.result(self._timeout_s)
        except concurrent.futures.TimeoutError as error:
            asked.cancel()
            self.end()
            raise ToolFailure(f"tool_timeout: no answer within {self._timeout_s:g} s") from error
        except Exception as error:
            if not session.is_open() or "closed" in str(error).lower():
                self.end()
                raise ToolFailure(f"tool_crashed: {_explained(error)}") from error
            raise ToolFailure(f"tool_error: {_explained(error)}") from error
        return _written(result)

    def end(self) -> None:
        """Close the connection; closing it twice is allowed."""
        if self._session is not None:
            self._finalizer()
            self._session = None


class _Session:
    """An open connection, in a thread with an event loop.

    Attributes:
        opened: is done when the connection is there, or has the error.
    """

    def __init__(self, server: Any) -> None:
        self.opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._server = server
        self._client: Any = None
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._hold())
        finally:
            self._loop.close()

    async def _hold(self) -> None:
        """Keep the connection open until it is closed: the task that opens it has to close it."""
        mcp = require("mcp", extra="mcp")
        try:
            async with mcp.Client(self._server) as self._client:
                self.opened.set_result(None)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001  (raised again where the connection is awaited)
            if not self.opened.done():
                self.opened.set_exception(error)

    def is_open(self) -> bool:
        """Return whether the thread of the connection runs."""
        return self._thread.is_alive()

    def ask(self, name: str, arguments: dict[str, object]) -> concurrent.futures.Future[Any]:
        """Call a tool; the future has the SDK's result."""
        return asyncio.run_coroutine_threadsafe(self._client.call_tool(name, arguments), self._loop)

    def close(self) -> None:
        """Close the connection, and end a started server."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(_STOP_S)


def _written(result: Any) -> bytes:
    """Write the result of a tool as JSON: its structured content, or else its texts."""
    if result.is_error:
        raise ToolFailure(f"tool_error: {_on_one_line(_texts(result.content))}")
    value = result.structured_content
    if value is None:
        parts = [_part(each) for each in result.content]
        value = parts[0] if len(parts) == 1 else parts
    written = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    if len(written) > _MAX_RESULT_BYTES:
        most = f"at most {_MAX_RESULT_BYTES:,} are expected"
        raise ToolFailure(f"tool_error: the result has {len(written):,} bytes; {most}")
    return written


def _part(block: Any) -> Any:
    """Return a block of content as a JSON value: a text that is JSON is read."""
    if block.type != "text":
        return block.model_dump(mode="json", by_alias=True, exclude_none=True)
    try:
        return json.loads(block.text)
    except ValueError:
        return block.text


def _texts(content: Sequence[Any]) -> str:
    return " ".join(each.text for each in content if each.type == "text") or "no message"


def _explained(error: BaseException) -> str:
    """Return the message of an error; of a group of tasks, that of its first error."""
    while getattr(error, "exceptions", None):
        error = error.exceptions[0]  # type: ignore[attr-defined]
    return _on_one_line(f"{type(error).__name__}: {error}")


def _on_one_line(text: object) -> str:
    return " ".join(str(text).split())
