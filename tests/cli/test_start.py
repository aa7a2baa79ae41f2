"""The command line imports what the chosen command needs, and no more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

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
SLOW = {"numpy", "gymnasium", "jinja2", "rich", "aiohttp", "torch", "agent_gym_env.assembly"}


def modules_after(*arguments: str) -> set[str]:
    """Run a command in a fresh interpreter; return the names of all modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["plya"],
        [],
        ["play", "--help"],
        ["evaluate", "--policy"],
        ["rollout", "--help"],
        ["export", "--help"],
        ["data", "info", "--help"],
        ["train", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_usage_errors_need_no_slow_import(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & SLOW


def test_a_command_does_not_import_the_others() -> None:
    imported = modules_after("data", "info", "--split", "dev")
    assert "agent_gym_env.cli.data" in imported
    assert not imported & {"agent_gym_env.cli.evaluate", "agent_gym_env.assembly", "jinja2"}


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_during_its_imports_says_so(
    how: signal.Signals, tmp_path: Path
) -> None:
    # The module of the command stops the process while it is imported.
    stop = (
        "import os, sys; from agent_gym_env.cli import main\n"
        "class Stop:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'agent_gym_env.cli.play': os.kill(os.getpid(), {int(how)})\n"
        "sys.meta_path.insert(0, Stop())\n"
        "sys.exit(main.main(['play']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", stop], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 3
    assert done.stderr == (
        "agent-gym: stopped; to resume, run the same command again: it had not begun\n"
    )
