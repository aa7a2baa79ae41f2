"""A real server on loopback, for tests."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from agent_gym_env.cli.serve import check_settings
from agent_gym_env.client import Client
from agent_gym_env.lm.http_access import listener
from agent_gym_env.server.app import ServerConfig, make_app
from agent_gym_env.server.http_server import allow_connections, uvicorn_config

LONGEST_WAIT_S = 300.0


class Running:
    """A server in a thread of this process."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        allow_connections()
        config = ServerConfig(folder=folder, **changes)
        self.listening = listener("127.0.0.1", 0, api_key=config.api_key)
        self.port = self.listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = make_app(config, check_settings=check_settings)
        self._server = uvicorn.Server(uvicorn_config(self.app))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        wait_for(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.listening.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self.listening]))

    def client(self, **options: Any) -> Client:
        return Client(self.url, **options)

    def ask(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """Send a request; return the status, the JSON and the headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_WAIT_S)
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, msgspec.json.decode(content) if content else None, response.headers


def wait_for(is_true: Callable[[], object]) -> None:
    """Wait until something holds; a limit only ends a test that would never end."""
    end = time.monotonic() + LONGEST_WAIT_S
    while not is_true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
