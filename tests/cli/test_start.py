"""The command line imports what the chosen command needs, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

RUN = """
import json, sys
from agent_gym_env.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    """Run a command in a fresh interpreter; return the names of all modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plya"], []])
def test_the_list_of_commands_needs_no_commands_module(arguments: list[str]) -> None:
    imported = modules_after(*arguments)
    assert not imported & {"jinja2", "rich", "agent_gym_env.assembly", "agent_gym_env.corpus"}
    commands = {"play", "evaluate", "rollout", "train", "export", "data"}
    assert not imported & {f"agent_gym_env.cli.{name}" for name in commands}


def test_a_command_does_not_import_the_others() -> None:
    imported = modules_after("data", "info", "--split", "dev")
    assert "agent_gym_env.cli.data" in imported
    assert "agent_gym_env.cli.evaluate" not in imported
