"""What the commands' exit codes say."""

from __future__ import annotations

import sys

FAILED, USAGE, STOPPED, DATA, STORAGE = 1, 2, 3, 4, 5
"""Something failed; a wrong command; stopped, and can go on; unreadable data; no room."""

VERDICTS_ARE_KEPT = "the same command, with all verdicts so far,"
"""How a command goes on that plays nothing and whose judge keeps its answers."""


def stopped(how_it_goes_on: str) -> int:
    """Say that a command was stopped and how it goes on, and give its exit code."""
    print(f"agent-gym: stopped; {how_it_goes_on} goes on", file=sys.stderr)
    return STOPPED
