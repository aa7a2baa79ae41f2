"""Running an application of ours with uvicorn, so that no client can starve the others."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from typing import Any

from agent_gym_env.extras import require

uvicorn: Any = require("uvicorn", extra="serve")
_h11_impl: Any = require("uvicorn.protocols.http.h11_impl", extra="serve")

MAX_MESSAGE_BYTES = 1 << 20
"""Size of a message over WebSocket."""

HEAD_TIMEOUT_S = 30.0
"""Seconds in which the head of a request must arrive."""

MAX_CONNECTIONS = 4096
"""Connections at once; a further one is answered with 503."""


def run_app(app: Any, listening: Any) -> None:
    """Run an application at a socket until the process is asked to end."""
    allow_connections()
    uvicorn.Server(uvicorn_config(app)).run(sockets=[listening])


def uvicorn_config(app: Any) -> Any:
    """Return the configuration of uvicorn for an application."""
    return uvicorn.Config(
        app,
        http=ImpatientHTTP,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_max_queue=4,
        ws_per_message_deflate=False,
    )


def allow_connections() -> None:
    """Let the process open as many files as the system allows: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # the system's own limit is lower than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class ImpatientHTTP(_h11_impl.H11Protocol):  # type: ignore[misc]
    """uvicorn's protocol of HTTP, which also ends connections whose request never arrives.

    uvicorn ends a connection that is silent between two requests, but not one that sends nothing,
    or a head byte by byte.
    """

    head_timeout_s = HEAD_TIMEOUT_S

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _watch(self) -> None:
        if not self._awaits_head():
            self._stop_waiting()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _awaits_head(self) -> bool:
        is_replaced = self.transport.get_protocol() is not self  # by the protocol of WebSocket
        return not is_replaced and (self.cycle is None or self.cycle.response_complete)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._awaits_head():
            self.transport.close()
