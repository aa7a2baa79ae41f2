"""``agent-gym serve``: environments and runs behind HTTP and WebSocket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.settings import Serve
from agent_gym_env.extras import require_installed


def serve(settings: Serve) -> None:
    """Serve until the command is stopped."""
    require_installed("fastapi", extra="serve")

    from agent_gym_env.server.app import ServerConfig
    from agent_gym_env.server.app import serve as serve_app
    from agent_gym_env.server.permissions import Permissions
    from agent_gym_env.server.sessions import SessionLimits

    names = ("folder", "host", "port", "api_key", "at_once", "resume_interrupted")
    config = ServerConfig(
        **{name: getattr(settings, name) for name in names},
        origins=settings.allow_origin,
        permissions=Permissions(
            corpora=("sample", "sgd", *map(_placed, settings.corpus)), is_trusted=settings.trusted
        ),
        limits=SessionLimits(
            number=settings.max_sessions,
            idle_s=settings.idle_s,
            steps_per_s=settings.max_steps_per_s,
        ),
    )

    def show(url: str) -> None:
        if settings.json:
            print_json({"url": url, "runs": str(settings.folder)}, indent=-1)
        else:
            print(f"runs in {settings.folder} at {url}; its API at {url}/api", flush=True)

    with suppress(KeyboardInterrupt):  # how a server is ended; its runs go on
        serve_app(config, check_settings=check_settings, on_ready=show)


def _placed(corpus: str) -> str:
    """Return the absolute path of a corpus that is here: runs have another current folder."""
    return os.path.abspath(corpus) if os.path.exists(corpus) else corpus


def check_settings(command: str, settings: Mapping[str, Any]) -> None:
    """Check the settings of a command.

    Raises:
        ValueError: a setting is unknown, missing, or has a value that does not fit.
    """
    from agent_gym_env.cli.main import parse

    parse([*command.split(), "--config", msgspec.json.encode(settings).decode()])
