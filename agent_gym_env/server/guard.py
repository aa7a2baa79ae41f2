"""The door of the server: who may send requests, how large they are, and how long they take."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agent_gym_env.extras import require
from agent_gym_env.lm.credentials import Secret
from agent_gym_env.lm.http_access import is_key, is_local, is_loopback
from agent_gym_env.server.wire import Refused

_datastructures: Any = require("starlette.datastructures", extra="serve")
_responses: Any = require("starlette.responses", extra="serve")

MAX_BODY_BYTES = 4 << 20
MAX_HELD_BYTES = 64 << 20
"""Total size of the bodies of all requests under way."""
BODY_TIMEOUT_S = 30.0

COOKIE = "agent_gym_key"
"""Cookie that a browser sends in place of the key, after it was entered once."""

OPEN_PATHS = ("/health", "/login", "/view/static/")
"""Beginnings of the paths that need no key."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Access:
    """Decides which requests a server answers.

    Args:
        api_key: key that clients must send; ``None`` for no key.
        host: address that the server listens at. At a loopback address only requests to a loopback
            address are answered.
        origins: origins of web pages, such as ``http://localhost:3000``, that may use the server
            from a browser, besides its own pages.
    """

    def __init__(self, *, api_key: str | None, host: str, origins: Sequence[str] = ()) -> None:
        self._key = Secret(api_key) if api_key else None
        self._only_local = is_loopback(host)
        self.origins = frozenset(origins)

    def check(self, scope: Any, headers: Any) -> None:
        """Check who sends a request.

        Raises:
            Refused: it comes from a web page of somebody else, or without the key.
        """
        host = headers.get("host", "")
        if self._only_local and not is_local(host):
            raise _denied(f"the host {host!r:.80} is not this machine")
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed(origin, host):
            raise _denied(
                f"a page of {origin!r:.80} may not use this server; --allow-origin allows one"
            )
        if self._key is None or scope["path"].startswith(OPEN_PATHS):
            return
        if not (is_key(headers.get("authorization", ""), self._key) or self._has_cookie(headers)):
            raise Refused(
                "the key is missing or wrong; expected it as a bearer token",
                status=401,
                code="unauthorized",
            )

    def _is_allowed(self, origin: str, host: str) -> bool:
        try:
            place = urlsplit(origin).netloc
        except ValueError:
            return False
        return (place != "" and place == host) or origin in self.origins

    def _has_cookie(self, headers: Any) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(
            cookie.value.encode(), self.cookie_value().encode()
        )

    def cookie_value(self) -> str:
        """Return the value of the cookie of a browser that has sent the key."""
        key = self._key.reveal() if self._key else ""
        return hmac.new(key.encode(), b"agent-gym browser", hashlib.sha256).hexdigest()

    def accepts(self, key: str) -> bool:
        """Return whether a key that was entered in a form is right."""
        return self._key is None or is_key(f"bearer {key}", self._key)


class Guard:
    """ASGI middleware that checks every request before the application sees it.

    Args:
        app: the application.
        access: decides which requests are answered.
    """

    def __init__(self, app: Any, *, access: Access) -> None:
        self._app = app
        self._access = access
        self._held_bytes = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = _datastructures.Headers(scope=scope)
        try:
            self._access.check(scope, headers)
        except Refused as refused:
            await _refuse(refused, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        send = self._with_headers(headers, send)
        if scope["method"] == "OPTIONS":  # before it sends a request, a browser asks whether it may
            await _responses.Response(status_code=204)(scope, receive, send)
            return
        body = _Body(self, receive)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._held_bytes -= body.size

    def hold(self, size: int) -> None:
        """Count bytes of a body that is being read.

        Raises:
            Refused: all bodies together are too large.
        """
        self._held_bytes += size
        if self._held_bytes > MAX_HELD_BYTES:
            raise Refused(
                "the requests under way are too large together",
                status=429,
                code="too_large",
                retry_after_s=1.0,
            )

    def _with_headers(self, headers: Any, send: Any) -> Any:
        origin = headers.get("origin")

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = _datastructures.MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    added.setdefault(name, value)
                if origin in self._access.origins:
                    _allow_origin(added, origin)
            await send(message)

        return send_with_headers


class _Body:
    """Body of a request, read within limits of size and time."""

    def __init__(self, guard: Guard, receive: Any) -> None:
        self._guard = guard
        self._receive = receive
        self._until: float | None = None
        self._is_read = False
        self.size = 0

    async def receive(self) -> Any:
        """Return the next message of the server.

        Raises:
            Refused: the body is too large or comes too slowly.
        """
        if self._is_read:  # whoever asks now waits for the client to go, for as long as it takes
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + BODY_TIMEOUT_S
        try:
            message = await asyncio.wait_for(self._receive(), self._until - loop.time())
        except asyncio.TimeoutError:
            raise Refused("the body did not arrive in time", status=408, code="too_slow") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.size += size
            self._is_read = not message.get("more_body", False)
            self._guard.hold(size)
            if self.size > MAX_BODY_BYTES:
                problem = f"the body has more than {MAX_BODY_BYTES:,} bytes"
                raise Refused(problem, status=413, code="too_large")
        return message


def _allow_origin(headers: Any, origin: str) -> None:
    headers["access-control-allow-origin"] = origin
    headers["access-control-allow-headers"] = "authorization, content-type, last-event-id"
    headers["access-control-allow-methods"] = "GET, POST, PUT, DELETE"
    headers["cross-origin-resource-policy"] = "cross-origin"
    headers.add_vary_header("origin")


def failure(refused: Refused) -> Any:
    """Return a failure as an HTTP response, which closes the connection if a body may be left."""
    headers = {"connection": "close"} if refused.status in (408, 413) else {}
    if refused.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(refused.retry_after_s)))
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    return _responses.Response(
        msgspec.json.encode(refused.body()),
        status_code=refused.status,
        media_type="application/json",
        headers=headers,
    )


async def _refuse(refused: Refused, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        accepted = _datastructures.Headers(scope=scope).get("accept", "")
        is_page = refused.status == 401 and scope["method"] == "GET" and "text/html" in accepted
        answer = _responses.RedirectResponse("/login", 303) if is_page else failure(refused)
        await answer(scope, receive, send)
        return
    # Before it is accepted, closing a WebSocket answers the handshake with 403.
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": str(refused)[:120]})


def _denied(problem: str) -> Refused:
    return Refused(problem, status=403, code="forbidden")
