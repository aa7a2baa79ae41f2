"""Puts the help of commands into the reference of the command line; called by mkdocs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each mark ``<!-- help: COMMAND -->`` by what ``agent-gym COMMAND --help`` prints."""
    return re.sub(r"<!-- help: (.*) -->", lambda mark: _help(mark[1]), markdown)


def _help(command: str) -> str:
    environment = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "agent_gym_env", *command.split(), "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if extra := re.search(r"is not installed. It comes with the extra '(\w+)'", done.stderr):
        return f"Install the extra `{extra[1]}` to see the options of this command."
    if done.returncode != 0:
        raise RuntimeError(f"agent-gym {command} --help: {done.stderr}")
    return f"```text\n{done.stdout.strip()}\n```"
