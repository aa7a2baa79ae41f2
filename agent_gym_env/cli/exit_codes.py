"""Exit codes of the command line."""

from __future__ import annotations

import sys
from enum import IntEnum

from agent_gym_env.errors import STOPS_THE_RUN, AgentGymError, DataError, StorageError


class ExitCode(IntEnum):
    """Meaning of the exit code of a command."""

    DONE = 0
    """The command did what was asked."""
    FAILED = 1
    """The job failed, wholly or in part; a message says why."""
    USAGE = 2
    """The command line or a configuration is wrong; nothing was begun."""
    STOPPED = 3
    """Ctrl-C, SIGTERM or a spent budget stopped the command, and it can be resumed."""
    DATA = 4
    """A corpus, file or folder is missing, or does not hold what it should."""
    STORAGE = 5
    """The disk cannot be read or written, or a folder belongs to another run."""


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code of a command that ended with an error."""
    if isinstance(error, DataError):
        return ExitCode.DATA
    if isinstance(error, StorageError):
        return ExitCode.STORAGE
    if isinstance(error, STOPS_THE_RUN):
        return ExitCode.STOPPED
    if isinstance(error, AgentGymError):
        return ExitCode.FAILED
    if isinstance(error, OSError):  # too few file descriptors, for example
        return ExitCode.STORAGE
    return ExitCode.USAGE


def stopped(how_to_resume: str) -> ExitCode:
    """Print that a command was stopped and how to resume it; return the exit code."""
    print(f"agent-gym: stopped; to resume, run {how_to_resume}", file=sys.stderr)
    return ExitCode.STOPPED
