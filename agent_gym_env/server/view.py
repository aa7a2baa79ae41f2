"""The application of ``agent-gym view``: the pages over recorded episodes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent_gym_env.extras import require
from agent_gym_env.lm.http_access import address_of, listener
from agent_gym_env.server.app import guard
from agent_gym_env.server.browse.pages import add_pages
from agent_gym_env.server.guard import Access
from agent_gym_env.server.http_server import run_app

fastapi: Any = require("fastapi", extra="serve")


def view(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    corpora: Sequence[str] = ("sample", "sgd"),
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Show the runs of a folder until the process is asked to end.

    Args:
        folder: folder with runs, or one run.
        host: address to listen at.
        port: port to listen at; 0 for any free port.
        api_key: key that a browser must send; ``None`` for no key.
        corpora: names and paths of corpora whose goals are shown with simulated dialogues.
        on_ready: called with the address before the first request is accepted.

    Raises:
        ValueError: other machines can reach the address but no key is set; or it is in use.
        DataError: the folder does not exist.
    """
    app = make_view(folder, host=host, api_key=api_key, corpora=corpora)
    with listener(host, port, api_key=api_key) as listening:
        on_ready(address_of(listening, host))
        run_app(app, listening)


def make_view(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    api_key: str | None = None,
    corpora: Sequence[str] = ("sample", "sgd"),
) -> Any:
    """Return the ASGI application; for the arguments see `view`."""
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_pages(app, folder, corpora=corpora)
    guard(app, Access(api_key=api_key, host=host))
    return app
