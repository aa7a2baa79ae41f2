"""``agent-gym completion``: completions for a shell, written by ``shtab``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from agent_gym_env.cli.main import make_parser
from agent_gym_env.cli.settings import Completion
from agent_gym_env.extras import require


def print_completion(settings: Completion) -> None:
    """Print a script that completes commands, options, choices and files.

    Raises:
        MissingDependency: ``shtab`` is not installed.
    """
    shtab = require("shtab", extra="cli")
    parser = make_parser()
    for action in _actions(parser):
        if action.metavar in ("FILE", "EPISODES", "ROWS", "CHECKPOINT", "PATH"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, settings.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
