"""Entry point of ``agent-gym``.

Exit codes: 0 done; 1 the job failed; 2 the command line is wrong; 3 stopped, and can be resumed;
4 a corpus or file is not in order; 5 the disk does not give or take what is needed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import gymnasium

import agent_gym_env
from agent_gym_env.cli import (
    agreement,
    data,
    evaluate,
    export,
    optimize,
    play,
    rollout,
    serve_policy,
    synthesize,
    train,
    trust,
)
from agent_gym_env.cli.arguments import Parser, name_models
from agent_gym_env.cli.exit_codes import DATA, FAILED, STOPPED, STORAGE, USAGE, stopped
from agent_gym_env.cli.library_warnings import without_library_warnings
from agent_gym_env.cli.output import tolerant_output
from agent_gym_env.envs.render import printable
from agent_gym_env.errors import STOPS_THE_RUN, AgentGymError, DataError, StorageError


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="agent-gym", description="Play, evaluate and train agents that talk and call tools."
    )
    parser.add_argument("--version", action="version", version=agent_gym_env.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (
        play,
        evaluate,
        rollout,
        trust,
        agreement,
        optimize,
        export,
        train,
        serve_policy,
        data,
        synthesize,
    ):
        module.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    with tolerant_output(), without_library_warnings():
        options = make_parser().parse_args(arguments)
        name_models(options)
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        with _sigterm_as_ctrl_c():
            code = int(options.run(options) or 0)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except DataError as error:
        return _failed(error, DATA)
    except StorageError as error:
        return _failed(error, STORAGE)
    except STOPS_THE_RUN as error:
        return _failed(error, STOPPED)
    except AgentGymError as error:
        return _failed(error, FAILED)
    except (ValueError, TypeError, gymnasium.error.Error) as error:
        return _failed(error, USAGE)
    except KeyboardInterrupt:
        if "goes_on" in options:
            return stopped(options.goes_on)
        print("agent-gym: stopped", file=sys.stderr)
        return FAILED
    except OSError as error:
        # No file descriptors or no memory left, for example: not an error of ours.
        return _failed(error, STORAGE)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a command sums up and says how to continue."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _failed(error: Exception, code: int) -> int:
    print(f"agent-gym: {printable(str(error))}", file=sys.stderr)
    return code
