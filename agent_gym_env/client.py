"""Client of ``agent-gym serve``: environments elsewhere as `gymnasium.Env`, and runs.

from agent_gym_env.client import Client

client = Client("http://127.0.0.1:8000")
env = client.make("SGDSim-v0", split="dev")
observation, info = env.reset(seed=0)
run = client.start("evaluate", policy=["retrieval"], episodes=20)
for event in client.events(run["name"]):
print(event)
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import gymnasium as gym
import msgspec
from gymnasium.error import ResetNeeded

from agent_gym_env.envs.spaces import action_space, observation_space
from agent_gym_env.errors import AgentGymError, DataError, MissingDependency, StorageError
from agent_gym_env.extras import require
from agent_gym_env.lm.credentials import Secret
from agent_gym_env.types import Action

__all__ = ("Client", "RemoteEnv", "ServerError")

API_KEY_VARIABLE = "AGENT_GYM_API_KEY"
SERVER_VARIABLE = "AGENT_GYM_SERVER"

_Step = tuple[dict[str, str], float, bool, bool, dict[str, Any]]


class ServerError(AgentGymError):
    """A server refused a request or could not be reached.

    Attributes:
        code: stable name of the kind of failure, such as ``too_many_sessions``; ``connection`` if
            the connection failed.
        retry_after_s: seconds after which the same request may succeed; ``None`` for never.
    """

    def __init__(self, message: str, code: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, code, retry_after_s)
        self.code = code
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


_ERRORS: Mapping[str, type[Exception]] = {
    "reset_needed": ResetNeeded,
    "invalid": ValueError,
    "data": DataError,
    "storage": StorageError,
    "missing_dependency": MissingDependency,
}


def _raise(failure: Mapping[str, Any]) -> NoReturn:
    """Raise the error that a server has told."""
    code, message = str(failure.get("code")), str(failure.get("message"))
    kind = _ERRORS.get(code)
    if kind is not None:
        raise kind(message)
    raise ServerError(message, code, failure.get("retry_after_s"))


class Client:
    """Client of a server.

    Args:
        url: address of the server; by default $AGENT_GYM_SERVER, or ``http://127.0.0.1:8000``.
        api_key: key of the server; $AGENT_GYM_API_KEY by default.
        timeout_s: longest wait for an answer, in seconds.

    Raises:
        ValueError: the address is not one of HTTP.
    """

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 600.0
    ) -> None:
        url = url or os.environ.get(SERVER_VARIABLE) or "http://127.0.0.1:8000"
        self._place = urlsplit(url.rstrip("/"))
        if self._place.scheme not in ("http", "https") or not self._place.netloc:
            raise ValueError(f"url must be such as http://127.0.0.1:8000, not {url!r}")
        key = api_key or os.environ.get(API_KEY_VARIABLE)
        self._key = Secret(key) if key else None
        self._timeout_s = timeout_s

    def make(self, env: str = "SGD-v0", *, keep: bool = False, **arguments: Any) -> RemoteEnv:
        """Open an environment on the server.

        Args:
            env: id of the environment.
            keep: whether the server keeps a snapshot after each step, so that the session can be
                restored.
            **arguments: arguments of ``gymnasium.make``.

        Raises:
            ValueError: an argument is unknown or has a wrong value.
            DataError: the corpus is missing on the server or damaged.
            ServerError: the server refuses the request or cannot be reached.
        """
        request = {"type": "open", "env": env, "arguments": arguments, "keep": keep}
        return RemoteEnv(self, request)

    def restore(self, session: str) -> RemoteEnv:
        """Open a session again that was made with ``keep``.

        Its `RemoteEnv.last` and `RemoteEnv.steps` describe its last step.

        Raises:
            ServerError: there is no such session, or the server cannot be reached.
        """
        return RemoteEnv(self, {"type": "restore", "session": session})

    def environments(self) -> dict[str, Any]:
        """Return the environments of the server, with their arguments."""
        return dict(self._ask("GET", "/v1/environments"))

    def start(self, command: str, *, name: str | None = None, **settings: Any) -> dict[str, Any]:
        """Start a run.

        Args:
            command: command of ``agent-gym``, such as ``evaluate`` or ``train sft``.
            name: name of the run; a new one by default.
            **settings: settings of the command: the names of its options, with ``_`` for ``-``.

        Returns:
            The run: ``name``, ``command``, ``settings``, ``created`` (seconds since 1970),
            ``state``, ``exit_code``, ``error`` and ``progress``.

        Raises:
            ValueError: the command or a setting is unknown or has a wrong value.
            ServerError: the server refuses the request or cannot be reached.
        """
        body = {"command": command, "settings": settings, "name": name}
        return dict(self._ask("POST", "/v1/runs", body))

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs, the newest first."""
        return list(self._ask("GET", "/v1/runs"))

    def run(self, name: str) -> dict[str, Any]:
        """Return a run."""
        return dict(self._ask("GET", f"/v1/runs/{quote(name, safe='')}"))

    def stop(self, name: str) -> dict[str, Any]:
        """Stop a run as Ctrl-C does."""
        return dict(self._ask("POST", f"/v1/runs/{quote(name, safe='')}/stop"))

    def resume(self, name: str) -> dict[str, Any]:
        """Resume a run that has ended early."""
        return dict(self._ask("POST", f"/v1/runs/{quote(name, safe='')}/resume"))

    def events(
        self, name: str | None = None, *, after: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield events as they come, each with its ``id``.

        Args:
            name: name of a run, whose events end with it; ``None`` for all runs, without end.
            after: id of the last event that is known already.

        Raises:
            ServerError: the connection was lost; call again with ``after``.
        """
        path = "/v1/events" if name is None else f"/v1/runs/{quote(name, safe='')}/events"
        connection, response = self._send("GET", path, None, {"last-event-id": after or ""})
        try:
            for event in _server_sent(response):
                if event["kind"] == "end":
                    return
                yield event
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"the stream of events broke off: {error}", "connection") from error
        finally:
            connection.close()
        raise ServerError("the stream of events broke off", "connection")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection, response = self._send(method, path, body, {})
        try:
            return msgspec.json.decode(response.read())
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise ServerError(f"the answer cannot be read: {error}", "connection") from error
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        is_safe = self._place.scheme == "https"
        kind = http.client.HTTPSConnection if is_safe else http.client.HTTPConnection
        connection = kind(self._place.netloc, timeout=self._timeout_s)
        sent = {name: value for name, value in headers.items() if value} | self.headers()
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, self._place.path + path, content, sent)
            response = connection.getresponse()
            if response.status >= 400:
                _raise(_failure(response.status, response.read()))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            connection.close()
            raise
        return connection, response

    def headers(self) -> dict[str, str]:
        """Return the headers that carry the key."""
        return {} if self._key is None else {"authorization": f"Bearer {self._key.reveal()}"}

    def connect(self, until: ExitStack) -> Any:
        """Return a WebSocket connection for one session.

        Args:
            until: stack that closes it.

        Raises:
            ServerError: the server cannot be reached, or refuses the key.
        """
        client: Any = require("websockets.sync.client", extra="serve")
        exceptions: Any = require("websockets.exceptions", extra="serve")
        scheme = "wss" if self._place.scheme == "https" else "ws"
        try:
            return until.enter_context(
                client.connect(
                    f"{scheme}://{self._place.netloc}{self._place.path}/v1/sessions/ws",
                    additional_headers=self.headers(),
                    max_size=None,
                    compression=None,
                    open_timeout=self._timeout_s,
                )
            )
        except (OSError, exceptions.WebSocketException) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> ServerError:
        problem = f"cannot reach the server at {self._place.netloc}: {error}"
        return ServerError(problem, "connection")

    @property
    def timeout_s(self) -> float:
        """Longest wait for an answer, in seconds."""
        return self._timeout_s


def _failure(status: int, content: bytes) -> Mapping[str, Any]:
    try:
        failure: Mapping[str, Any] = msgspec.json.decode(content, type=dict[str, Any])["error"]
    except (msgspec.DecodeError, KeyError):
        return {"code": "http", "message": f"the server answers with HTTP status {status}"}
    return failure


def _server_sent(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    id_ = ""
    for line in response:
        name, _, value = line.rstrip(b"\r\n").partition(b": ")
        if name == b"id":
            id_ = value.decode()
        elif name == b"data":
            yield {**msgspec.json.decode(value), "id": id_}


class RemoteEnv(gym.Env[dict[str, Any], Any]):
    """An environment on a server. Make it with `Client.make` or `Client.restore`.

    It is played as the environment itself: the same seed and actions give the same values.

    Attributes:
        session: id of the session.
        last: the last step's result; its reward is 0.0 after a reset; ``None`` before the first
            reset.
        steps: number of steps since the reset.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "html"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, client: Client, request: Mapping[str, Any]) -> None:
        self.observation_space = observation_space()
        self.action_space = action_space()
        self._client = client
        self._begin(request)

    def _begin(self, request: Mapping[str, Any]) -> None:
        with ExitStack() as until:
            self._socket = self._client.connect(until)
            opened = self._ask(request)
            self._connection = until.pop_all()
        self.session: str = opened["session"]
        self.render_mode = opened["arguments"].get("render_mode")
        self.steps: int = opened["steps"]
        self.last = None if opened["reply"] is None else _step(opened["reply"])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Begin an episode, as the environment does."""
        reply = self._ask({"type": "reset", "seed": seed, "options": options})["reply"]
        self.steps, self.last = 0, _step(reply)
        return reply["observation"], reply["info"]

    def step(self, action: Any) -> _Step:
        """Take an action, as the environment does.

        Raises:
            ServerError: the connection was lost. Where the session is kept, `reconnect` tells
                whether the action was taken.
        """
        values = msgspec.to_builtins(action) if isinstance(action, Action) else action
        reply = self._ask({"type": "step", "action": values})["reply"]
        self.steps += 1
        self.last = _step(reply)
        return self.last

    def reconnect(self) -> int:
        """Connect again to a session that was made with ``keep``.

        Returns:
            The number of steps that the server has taken since the reset. `last` is the result of
            the last one.

        Raises:
            ServerError: the session is gone, or the server cannot be reached.
        """
        self._connection.close()
        self._begin({"type": "restore", "session": self.session})
        return self.steps

    def get_state(self) -> dict[str, Any]:
        """Return a snapshot of the session, as JSON-able values."""
        return dict(self._ask({"type": "state"})["state"])

    def set_state(self, state: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Return to a snapshot that `get_state` has returned.

        Raises:
            ValueError: the value is not a snapshot, or of another corpus or split.
        """
        reply = self._ask({"type": "set_state", "state": dict(state)})["reply"]
        self.steps, self.last = int(state["steps"]), _step(reply)
        return reply["observation"], reply["info"]

    def render(self) -> str | None:
        """Show the conversation so far."""
        if self.render_mode is None:
            return None
        return str(self._ask({"type": "render"})["text"])

    def close(self) -> None:
        """Close the session for good."""
        exceptions: Any = require("websockets.exceptions", extra="serve")
        try:
            self._ask({"type": "close"})
        except (ServerError, exceptions.WebSocketException):
            return  # the server has ended it already
        finally:
            self._connection.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        exceptions: Any = require("websockets.exceptions", extra="serve")
        text = json.dumps(request)
        try:
            self._socket.send(text)
            answer = json.loads(self._socket.recv(timeout=self._client.timeout_s))
        except BaseException as error:
            # The answer may still come: it is not to be taken for that of another request.
            self._socket.close()
            if not isinstance(error, (OSError, exceptions.WebSocketException)):
                raise
            what = str(error) or f"no answer within {self._client.timeout_s:g} s"
            raise ServerError(
                f"the connection to the server broke off: {what}", "connection"
            ) from error
        if answer["type"] == "error":
            _raise(answer["error"])
        return dict(answer)


def _step(reply: Mapping[str, Any]) -> _Step:
    return (
        reply["observation"], reply["reward"] or 0.0, reply["terminated"], reply["truncated"],
        reply["info"],
    )  # fmt: skip
