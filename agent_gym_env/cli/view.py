"""``agent-gym view``: pages that browse and compare recorded episodes."""

from __future__ import annotations

from contextlib import suppress

from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.settings import View
from agent_gym_env.extras import require_installed


def view(settings: View) -> None:
    """Show the runs of a folder until the command is stopped."""
    require_installed("fastapi", extra="serve")

    from agent_gym_env.server.view import view as show_pages

    def show(url: str) -> None:
        if settings.json:
            print_json({"url": url, "folder": str(settings.folder)}, indent=-1)
        else:
            print(f"{settings.folder} at {url}", flush=True)

    with suppress(KeyboardInterrupt):  # how it is ended
        show_pages(
            settings.folder,
            host=settings.host,
            port=settings.port,
            api_key=settings.api_key,
            corpora=("sample", "sgd", *settings.corpus),
            on_ready=show,
        )
