"""Serves the environment that ``environment.json`` describes: ``python -m server.app``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import uvicorn

from agent_gym_env.adapters.openenv_env import make_app

CONFIG = os.environ.get("AGENT_GYM_OPENENV", str(Path(__file__).parents[1] / "environment.json"))
"""File with ``env_id`` and ``arguments``."""

app = make_app(**json.loads(Path(CONFIG).read_text("utf-8")))


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description="Serve Agent Gym's dialogues to OpenEnv.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    options = parser.parse_args()
    uvicorn.run(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()
