"""``agent-gym hub``: episodes and trained policies on the Hugging Face hub."""

from __future__ import annotations

from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.settings import HubPull, HubPush
from agent_gym_env.hf_hub.transfer import pull_from_hub, push_to_hub


def push(settings: HubPush) -> None:
    """Publish, and print where it is."""
    pushed = push_to_hub(
        settings.path,
        settings.repo,
        public=settings.public,
        licence=settings.license,
        allow_personal_data=settings.allow_personal_data,
        message=settings.message,
    )
    if settings.json:
        print_json(pushed)
        return
    who = "only you can see it" if pushed.private else "everybody can see it"
    print(f"{pushed.url}: {pushed.kind}, {pushed.files} files, {who}; commit {pushed.revision}")


def pull(settings: HubPull) -> None:
    """Fetch, and print how it is used."""
    pulled = pull_from_hub(
        settings.repo, settings.out, kind=settings.type, revision=settings.revision
    )
    if settings.json:
        print_json(pulled)
        return
    print(f"{pulled.path}: {pulled.kind}, commit {pulled.revision}")
    for name in pulled.left_out:
        print(f"left out, since it may run code when it is loaded: {name}")
    if pulled.path.endswith(".parquet"):
        print(f"use it: agent-gym export {pulled.path} --format sft --out rows.jsonl")
    elif pulled.policy is None:
        print(f'use it: --corpus \'{{"name": "episodes", "path": "{pulled.path}"}}\'')
    else:
        print(f'use it: --policy \'{{"name": "{pulled.policy}", "path": "{pulled.path}"}}\'')
