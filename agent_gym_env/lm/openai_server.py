"""A server that speaks OpenAI's protocol for one of our models."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agent_gym_env.errors import ContextExceeded, LMError, PermanentLMError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel, Request, Response, StoppableModel
from agent_gym_env.lm.chat_completions import InvalidRequest, completion, events, failure, read_body
from agent_gym_env.lm.credentials import Secret
from agent_gym_env.lm.http_access import address_of, is_key, is_local, is_loopback, listener

fastapi: Any = require("fastapi", extra="serve")
uvicorn: Any = require("uvicorn", extra="serve")
_anyio: Any = require("anyio", extra="serve")
_responses: Any = require("starlette.responses", extra="serve")
_exceptions: Any = require("starlette.exceptions", extra="serve")
_requests: Any = require("starlette.requests", extra="serve")

MAX_BODY_BYTES = 4 << 20
BODY_TIMEOUT_S = 30.0
MAX_HELD_BYTES = 64 << 20
"""Total size of the bodies of all requests under way."""

MAX_CONCURRENT = 256
"""Requests that wait for the model at once."""

_log = logging.getLogger(__name__)


def serve(
    model: LanguageModel,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a model until the process is asked to end.

    Args:
        model: model that answers. Concurrent requests reach it from several threads.
        host: address to listen at.
        port: port to listen at; 0 for any free port.
        api_key: key that clients must send.
        on_ready: called with the address, up to ``/v1``, before the first request is accepted.

    Raises:
        ValueError: other machines can reach the address but no key is set; or it is in use.
    """
    with listener(host, port, api_key=api_key) as listening:
        config = uvicorn.Config(
            make_app(model, api_key=api_key, host=host),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
        )
        on_ready(f"{address_of(listening, host)}/v1")
        uvicorn.Server(config).run(sockets=[listening])


def make_app(model: LanguageModel, *, api_key: str | None = None, host: str = "127.0.0.1") -> Any:
    """Create the ASGI application.

    Args:
        model: model that answers.
        api_key: key that clients must send; ``None`` for no key.
        host: address that the server listens at. At a loopback address only requests to a loopback
            address are answered, and none from a web page of another origin.
    """
    return _Application(model, api_key, only_local=is_loopback(host)).app


class _Application:
    def __init__(self, model: LanguageModel, api_key: str | None, *, only_local: bool) -> None:
        self._model = model
        self._key = Secret(api_key) if api_key else None
        self._only_local = only_local
        self._waiting = 0
        self._held_bytes = 0
        self.app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self.app.add_route("/health", self._checked(self._health, open_to_all=True))
        self.app.add_route("/v1/models", self._checked(self._models))
        self.app.add_route("/v1/chat/completions", self._checked(self._chat), methods=["POST"])
        self.app.add_exception_handler(_exceptions.HTTPException, _unknown)
        self.app.add_exception_handler(Exception, _broken)

    async def _health(self, _: Any) -> Any:
        return _json({"status": "ok"})

    async def _models(self, _: Any) -> Any:
        entry = {"id": self._model.name, "object": "model", "owned_by": "agent-gym", "created": 0}
        return _json({"object": "list", "data": [entry]})

    async def _chat(self, request: Any) -> Any:
        if self._waiting >= MAX_CONCURRENT:
            raise InvalidRequest("too many requests wait already", status=429)
        self._waiting += 1
        body = bytearray()
        try:
            await self._read(request, body)
            chat = read_body(bytes(body), self._model.name)
            response = await self._answer(request, chat.request())
        finally:
            self._waiting -= 1
            self._held_bytes -= len(body)
        if chat.stream:
            return _responses.StreamingResponse(
                events(response, tells_usage=chat.tells_usage), media_type="text/event-stream"
            )
        return _responses.Response(completion(response), media_type="application/json")

    async def _answer(self, request: Any, asked: Request) -> Response:
        """Ask the model; stop it if the client disconnects."""
        is_gone = threading.Event()
        ask = functools.partial(_ask, self._model, asked, lambda: not is_gone.is_set())
        # As many threads as may wait: the model answers together what waits together.
        limiter = _anyio.CapacityLimiter(1)
        watching = asyncio.ensure_future(_disconnected(request, is_gone))
        try:
            response: Response = await _anyio.to_thread.run_sync(ask, limiter=limiter)
        finally:
            watching.cancel()
        return response

    async def _read(self, request: Any, body: bytearray) -> None:
        """Read a whole body, within limits of size and time."""
        try:
            await asyncio.wait_for(self._read_all(request, body), BODY_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise InvalidRequest("the body did not arrive in time", status=408) from None

    async def _read_all(self, request: Any, body: bytearray) -> None:
        async for chunk in request.stream():
            body += chunk
            self._held_bytes += len(chunk)
            if len(body) > MAX_BODY_BYTES:
                raise InvalidRequest(f"the body is over {MAX_BODY_BYTES} bytes", status=413)
            if self._held_bytes > MAX_HELD_BYTES:
                raise InvalidRequest("the requests under way are too large together", status=429)

    def _checked(
        self, answer: Callable[[Any], Awaitable[Any]], *, open_to_all: bool = False
    ) -> Callable[[Any], Awaitable[Any]]:
        """Wrap a handler: check the client, and answer errors in OpenAI's form."""

        async def checked(request: Any) -> Any:
            try:
                self._check_place(request)
                if not open_to_all:
                    self._check_key(request)
                return await answer(request)
            except InvalidRequest as error:
                return _failed(str(error), error.status, error.code)
            except _requests.ClientDisconnect:
                return _failed("the client went away before its body had arrived", 400)
            except PermanentLMError as error:
                too_long = isinstance(error, ContextExceeded)
                return _failed(str(error), 400, "context_length_exceeded" if too_long else None)
            except LMError as error:
                _log.warning("%s", error)
                return _failed("the model did not answer", 503)

        return checked

    def _check_place(self, request: Any) -> None:
        """Refuse requests that a web page could send: a foreign host name or origin."""
        if not self._only_local:
            return
        for header in ("host", "origin"):
            value = request.headers.get(header)
            if value is not None and not is_local(value):
                raise InvalidRequest(f"the {header} is not of this machine", status=403)

    def _check_key(self, request: Any) -> None:
        if self._key is None:
            return
        if not is_key(request.headers.get("authorization", ""), self._key):
            raise InvalidRequest(
                "the key is missing or wrong; expected it as a bearer token",
                status=401,
                code="invalid_api_key",
            )


def _ask(model: LanguageModel, request: Request, is_wanted: Callable[[], bool]) -> Response:
    if isinstance(model, StoppableModel):
        return model.complete_while(request, is_wanted)
    return model.complete(request)


async def _disconnected(request: Any, is_gone: threading.Event) -> None:
    """Set an event when the client disconnects; the body has been read before."""
    while not is_gone.is_set():
        message = await request.receive()
        if message["type"] == "http.disconnect":
            is_gone.set()


async def _unknown(_: Any, error: Any) -> Any:
    return _failed("there is nothing here by this name and method", error.status_code)


async def _broken(_: Any, __: Exception) -> Any:
    """Answer without details; the exception goes to the server's log."""
    return _failed("an error inside the server", 500)


def _failed(message: str, status: int, code: str | None = None) -> Any:
    return _responses.Response(
        failure(message, status, code), status_code=status, media_type="application/json"
    )


def _json(value: Any) -> Any:
    return _responses.Response(msgspec.json.encode(value), media_type="application/json")
