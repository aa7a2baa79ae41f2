"""The application of ``agent-gym serve``: sessions and runs over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from agent_gym_env.assembly import ENVIRONMENTS
from agent_gym_env.errors import AgentGymError
from agent_gym_env.extras import require
from agent_gym_env.lm.http_access import address_of, listener
from agent_gym_env.server.api_page import api_page
from agent_gym_env.server.browse.pages import PREFIX, add_pages, plain_page
from agent_gym_env.server.chats import BeginChat, ChatAnswer, ChatBegun, Chats, SayBody
from agent_gym_env.server.event_stream import all_events, run_events
from agent_gym_env.server.guard import COOKIE, Access, Guard, failure
from agent_gym_env.server.http_server import run_app
from agent_gym_env.server.permissions import OWN_FOLDER, Permissions
from agent_gym_env.server.run_jobs import RunJobs, RunStatus, StartBody
from agent_gym_env.server.sessions import OpenSession, SessionLimits, Sessions
from agent_gym_env.server.wire import (
    ClientMessage,
    CloseBody,
    Closed,
    OpenBody,
    Opened,
    Refused,
    Rendered,
    Replied,
    ResetBody,
    RestoreBody,
    SetStateBody,
    Snapshot,
    StateBody,
    StepBody,
    read,
)

fastapi: Any = require("fastapi", extra="serve")
_anyio: Any = require("anyio", extra="serve")
_exceptions: Any = require("starlette.exceptions", extra="serve")
_responses: Any = require("starlette.responses", extra="serve")
_websockets: Any = require("starlette.websockets", extra="serve")

_TEND_S = 0.5
_DROP_IDLE_S = 5.0
_log = logging.getLogger(__name__)

CheckSettings = Callable[[str, Mapping[str, Any]], None]


class ServerConfig(msgspec.Struct, frozen=True):
    """Configuration of a server.

    Attributes:
        folder: folder of the runs.
        host: address to listen at.
        port: port to listen at; 0 for any free port.
        api_key: key that clients must send; ``None`` for no key.
        origins: origins of web pages that may use the server from a browser.
        permissions: permissions of the clients.
        limits: limits of the sessions.
        at_once: number of runs at the same time.
        resume_interrupted: whether to resume the runs that were killed.
    """

    folder: Path = Path("runs")
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    origins: tuple[str, ...] = ()
    permissions: Permissions = Permissions()
    limits: SessionLimits = SessionLimits()
    at_once: int = 2
    resume_interrupted: bool = False


def serve(
    config: ServerConfig,
    *,
    check_settings: CheckSettings,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until the process is asked to end. Runs go on without the server.

    The folder of the runs becomes the current folder, unless clients are trusted: relative paths in
    a client's request are to mean the same for a session as for a run, and nothing outside of it.

    Args:
        config: configuration of the server.
        check_settings: function that raises `ValueError` if settings do not fit a command.
        on_ready: called with the address before the first request is accepted.

    Raises:
        ValueError: other machines can reach the address but no key is set; or it is in use.
        StorageError: the folder cannot be made.
    """
    config = msgspec.structs.replace(config, folder=config.folder.resolve())
    with listener(config.host, config.port, api_key=config.api_key) as listening:
        app = make_app(config, check_settings=check_settings)
        if not config.permissions.is_trusted:
            os.chdir(config.folder)
        on_ready(address_of(listening, config.host))
        run_app(app, listening)


def make_app(config: ServerConfig, *, check_settings: CheckSettings) -> Any:
    """Return the ASGI application.

    Args:
        config: configuration of the server.
        check_settings: function that raises `ValueError` if settings do not fit a command.
    """
    own = config.folder / OWN_FOLDER
    sessions = Sessions(own / "sessions", config.limits, config.permissions)
    runs = RunJobs(config.folder, config.permissions, check_settings, at_once=config.at_once)
    if config.resume_interrupted:
        runs.resume_interrupted()
    app = fastapi.FastAPI(
        title="Agent Gym",
        description="Environments and runs. See docs/guides/serving.md.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=_tending(sessions, runs),
    )
    _add_health(app)
    _add_sessions(app, sessions)
    _add_chats(app, Chats(config.permissions))
    _add_runs(app, runs)
    _add_api_page(app)
    add_pages(app, config.folder, corpora=config.permissions.corpora, plays=True)
    access = Access(api_key=config.api_key, host=config.host, origins=config.origins)
    guard(app, access)
    app.state.sessions = sessions
    app.state.runs = runs
    return app


def guard(app: Any, access: Access) -> None:
    """Let an application answer only the requests that it may, and add the page for the key.

    Args:
        app: a FastAPI application.
        access: decides which requests are answered.
    """

    async def home() -> Any:
        return _responses.RedirectResponse(PREFIX, 303)

    async def login_page() -> Any:
        return _responses.HTMLResponse(plain_page("login.html", is_wrong=False))

    async def login(request: fastapi.Request) -> Any:
        sent = parse_qs((await request.body()).decode(errors="replace")).get("key", [""])[0]
        if not access.accepts(sent):
            return _responses.HTMLResponse(plain_page("login.html", is_wrong=True), 401)
        answer = _responses.RedirectResponse(PREFIX, 303)
        answer.set_cookie(COOKIE, access.cookie_value(), httponly=True, samesite="strict")
        return answer

    app.add_api_route("/", home, methods=["GET"], include_in_schema=False)
    app.add_api_route("/login", login_page, methods=["GET"], include_in_schema=False)
    app.add_api_route("/login", login, methods=["POST"], include_in_schema=False)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(_exceptions.HTTPException, _unknown)
    app.add_exception_handler(Exception, _broken)
    app.add_middleware(Guard, access=access)


def _tending(sessions: Sessions, runs: RunJobs) -> Any:
    """Return the lifespan of the application: idle sessions end, and queued runs start."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        tasks = [
            asyncio.ensure_future(_repeat(_TEND_S, partial(_anyio.to_thread.run_sync, runs.tend))),
            asyncio.ensure_future(_repeat(_DROP_IDLE_S, sessions.drop_idle)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            sessions.close_all()
            runs.close()

    return lifespan


async def _repeat(distance_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except (AgentGymError, OSError, Refused):  # of a full disk, which may have room later
            _log.exception("%s failed", work)
        await asyncio.sleep(distance_s)


def _route(
    app: Any, place: str, handler: Any, summary: str, *, body: Any = None, answer: Any = None
) -> None:
    """Add a route, described in the OpenAPI document.

    Args:
        app: application.
        place: method and path.
        handler: function that answers.
        summary: line about the route.
        body: type of the request's JSON.
        answer: type of the answer's JSON.
    """
    method, path = place.split()
    extra: dict[str, Any] = {}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": _content(body)}
    if answer is not None:
        extra["responses"] = {"200": {"description": "done", "content": _content(answer)}}
    app.add_api_route(path, handler, methods=[method], summary=summary, openapi_extra=extra)


def _content(kind: Any) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    return {"application/json": {"schema": {**schema, "$defs": components}}}


def _json(value: Any, status: int = 200) -> Any:
    return _responses.Response(
        msgspec.json.encode(value), status_code=status, media_type="application/json"
    )


def _add_health(app: Any) -> None:
    async def health() -> Any:
        return _json({"status": "ok"})

    async def environments() -> Any:
        return _json({name: _environment(made) for name, made in ENVIRONMENTS.items()})

    _route(app, "GET /health", health, "Tell that the server answers")
    _route(app, "GET /v1/environments", environments, "List environments and their arguments")


def _add_api_page(app: Any) -> None:
    async def show() -> Any:
        return _responses.HTMLResponse(api_page(app.openapi()))

    app.add_api_route("/api", show, methods=["GET"], include_in_schema=False)


def _environment(made: Callable[..., Any]) -> dict[str, Any]:
    arguments = {
        name: {
            "type": str(parameter.annotation),
            "default": parameter.default,
        }
        for name, parameter in inspect.signature(made).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    arguments["max_episode_steps"] = {"type": "int | None", "default": None}
    return {"description": inspect.getdoc(made), "arguments": arguments}


def _add_sessions(app: Any, sessions: Sessions) -> None:
    async def body_of(request: Any, kind: Any) -> Any:
        return read(await request.body(), kind)

    async def open_session(request: fastapi.Request) -> Any:
        is_restored = "session" in await body_of(request, dict[str, Any])
        body = await body_of(request, RestoreBody if is_restored else OpenBody)
        return _json(await _open(sessions, body))

    async def reset(session: str, request: fastapi.Request) -> Any:
        body = await body_of(request, ResetBody)
        return _json(await _played(sessions, sessions.find(session), body))

    async def step(session: str, request: fastapi.Request) -> Any:
        body = await body_of(request, StepBody)
        return _json(await _played(sessions, sessions.find(session), body))

    async def state(session: str) -> Any:
        return _json(await _played(sessions, sessions.find(session), StateBody()))

    async def set_state(session: str, request: fastapi.Request) -> Any:
        body = await body_of(request, SetStateBody)
        return _json(await _played(sessions, sessions.find(session), body))

    async def render(session: str) -> Any:
        opened = sessions.find(session)
        return _json(Rendered(await opened.perform(opened.session.render)))

    async def close(session: str) -> Any:
        await sessions.close(sessions.find(session))
        return _json(Closed())

    async def play(socket: fastapi.WebSocket) -> None:
        await socket.accept()
        with suppress(_websockets.WebSocketDisconnect):
            await _play(socket, sessions)

    _route(
        app,
        "POST /v1/sessions",
        open_session,
        "Open an environment",
        body=OpenBody | RestoreBody,
        answer=Opened,
    )
    _route(
        app,
        "POST /v1/sessions/{session}/reset",
        reset,
        "Begin an episode",
        body=ResetBody,
        answer=Replied,
    )
    _route(
        app,
        "POST /v1/sessions/{session}/step",
        step,
        "Take an action",
        body=StepBody,
        answer=Replied,
    )
    _route(app, "GET /v1/sessions/{session}/state", state, "Take a snapshot", answer=Snapshot)
    _route(
        app,
        "PUT /v1/sessions/{session}/state",
        set_state,
        "Return to a snapshot",
        body=SetStateBody,
        answer=Replied,
    )
    _route(
        app,
        "GET /v1/sessions/{session}/render",
        render,
        "Return the conversation as text or HTML",
        answer=Rendered,
    )
    _route(app, "DELETE /v1/sessions/{session}", close, "Close an environment", answer=Closed)
    app.add_api_websocket_route("/v1/sessions/ws", play)


async def _open(sessions: Sessions, body: OpenBody | RestoreBody) -> Opened:
    if isinstance(body, OpenBody):
        opened = await sessions.open(body)
    else:
        opened = await sessions.restore(body.session)
    session, asked = opened.session, opened.opened
    return Opened(opened.id, asked.env, asked.arguments, session.last, session.steps)


async def _played(sessions: Sessions, opened: OpenSession, body: Any) -> Replied | Snapshot:
    """Reset, step, or take or return to a snapshot."""
    session = opened.session
    if isinstance(body, StateBody):
        return Snapshot(await opened.perform(session.state))
    if isinstance(body, StepBody):
        opened.take_step(sessions.limits.steps_per_s)

    def play() -> Replied:
        if isinstance(body, ResetBody):
            reply = session.reset(seed=body.seed, options=body.options)
        elif isinstance(body, SetStateBody):
            reply = session.set_state(body.state)
        else:
            reply = session.step(body.action)
        sessions.keep(opened)
        return Replied(reply)

    return await opened.perform(play)


async def _play(socket: Any, sessions: Sessions) -> None:
    """Answer the messages of one connection, which has at most one session."""
    opened: OpenSession | None = None
    try:
        while True:
            received = await socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                if received.get("text") is None:
                    raise Refused("a message is text, not bytes", status=400, code="not_json")
                message = read(received["text"], ClientMessage)
                if isinstance(message, OpenBody | RestoreBody):
                    if opened is not None:
                        await sessions.close(opened)
                    opened = None
                    answer: Any = await _open(sessions, message)
                    opened = sessions.find(answer.session)
                elif opened is None:
                    raise Refused("open a session first", status=409, code="unknown_session")
                elif isinstance(message, CloseBody):
                    await sessions.close(opened)
                    opened, answer = None, Closed()
                else:
                    answer = await _answered(sessions, opened, message)
            except Refused as refused:
                answer = {"type": "error", **refused.body()}
            except Exception:  # noqa: BLE001  (told in the log; the client may go on)
                _log.exception("a message over WebSocket failed")
                answer = {"type": "error", **_INSIDE.body()}
            await socket.send_text(msgspec.json.encode(answer).decode())
            await asyncio.sleep(0)  # many messages may have come at once: the others have turns
    finally:
        if opened is not None:
            sessions.drop(opened)


async def _answered(sessions: Sessions, opened: OpenSession, message: Any) -> Any:
    if isinstance(message, ResetBody | StepBody | SetStateBody | StateBody):
        return await _played(sessions, opened, message)
    return Rendered(await opened.perform(opened.session.render))


def _add_chats(app: Any, chats: Chats) -> None:
    async def begin(request: fastapi.Request) -> Any:
        return _json(await chats.begin(read(await request.body(), BeginChat)), 201)

    async def say(chat: str, request: fastapi.Request) -> Any:
        body = read(await request.body(), SayBody)
        return _json(await chats.say(chat, body.text))

    async def close(chat: str) -> Any:
        chats.close(chat)
        return _json(Closed())

    said = "Say something as the user, and return the agent's turn"
    _route(app, "POST /v1/chats", begin, "Talk to a policy", body=BeginChat, answer=ChatBegun)
    _route(app, "POST /v1/chats/{chat}/say", say, said, body=SayBody, answer=ChatAnswer)
    _route(app, "DELETE /v1/chats/{chat}", close, "End a chat", answer=Closed)


def _add_runs(app: Any, runs: RunJobs) -> None:
    in_thread = _anyio.to_thread.run_sync

    async def start(request: fastapi.Request) -> Any:
        body = read(await request.body(), StartBody)
        return _json(await in_thread(runs.start, body), 201)

    async def list_runs() -> Any:
        return _json(await in_thread(runs.all))

    async def find(run: str) -> Any:
        return _json(await in_thread(runs.find, run))

    async def stop(run: str) -> Any:
        return _json(await in_thread(runs.stop, run))

    async def resume(run: str) -> Any:
        return _json(await in_thread(runs.resume, run))

    async def events(run: str, request: fastapi.Request) -> Any:
        return _stream(await run_events(runs, run, request.headers.get("last-event-id")))

    async def every_event(request: fastapi.Request) -> Any:
        return _stream(await all_events(runs, request.headers.get("last-event-id")))

    _route(app, "POST /v1/runs", start, "Start a run", body=StartBody, answer=RunStatus)
    _route(app, "GET /v1/runs", list_runs, "List the runs", answer=list[RunStatus])
    _route(app, "GET /v1/runs/{run}", find, "Return a run", answer=RunStatus)
    _route(app, "POST /v1/runs/{run}/stop", stop, "Stop a run", answer=RunStatus)
    _route(app, "POST /v1/runs/{run}/resume", resume, "Resume a run", answer=RunStatus)
    _route(app, "GET /v1/runs/{run}/events", events, "Stream the events of a run")
    _route(app, "GET /v1/events", every_event, "Stream the events of all runs")


def _stream(events: AsyncIterator[bytes]) -> Any:
    return _responses.StreamingResponse(
        events, media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


_INSIDE = Refused("an error inside the server", status=500, code="broken")
"""Answer to a fault of the server: without details, which go to its log."""


async def _refused(_: Any, refused: Refused) -> Any:
    return failure(refused)


async def _unknown(_: Any, error: Any) -> Any:
    problem = "there is nothing here by this name and method"
    return failure(Refused(problem, status=error.status_code, code="not_found"))


async def _broken(_: Any, __: Exception) -> Any:
    return failure(_INSIDE)
