"""``agent-gym models``: language models on this machine."""

from __future__ import annotations

from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.settings import FetchModel
from agent_gym_env.lm.fetch_model import fetch_model


def fetch(settings: FetchModel) -> None:
    """Fetch a model, and print how it is used."""
    found = fetch_model(settings.model, out=settings.out, source=settings.source)
    if settings.json:
        print_json(found)
        return
    print(f"{found.folder}: {found.origin or 'was there already'}")
    print(f"licence: {found.licence}")
    name = found.name if settings.out is None else found.folder
    print(f'use it: --model {name}, or --policy \'{{"name": "transformers", "path": "{name}"}}\'')
