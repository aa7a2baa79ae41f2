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
from importlib import import_module

import agent_gym_env
from agent_gym_env.cli.exit_codes import DATA, FAILED, STOPPED, STORAGE, USAGE, stopped
from agent_gym_env.cli.library_warnings import without_library_warnings
from agent_gym_env.cli.output import tolerant_output
from agent_gym_env.cli.parser import Parser
from agent_gym_env.envs.render import printable
from agent_gym_env.errors import STOPS_THE_RUN, AgentGymError, DataError, StorageError

_MODULES = {
    "play": ("play", "demo"),
    "evaluate": ("evaluate", "compare", "rescore", "report"),
    "rollout": ("rollout",),
    "trust": ("verify", "audit"),
    "agreement": ("agreement",),
    "optimize": ("optimize",),
    "export": ("export",),
    "train": ("train",),
    "serve_policy": ("serve-policy",),
    "data": ("data",),
    "synthesize": ("synthesize",),
}
"""Modules of this folder, and the commands that each of them adds."""

_HELP = {
    "play": "play one dialogue and show it",
    "demo": "evaluate the offline policies on the sample corpus",
    "evaluate": "play policies and report their rewards",
    "compare": "compare two policies, dialogue by dialogue",
    "rescore": "score recorded episodes by another reward",
    "report": "write an HTML page about recorded episodes",
    "rollout": "collect episodes",
    "verify": "play the oracle over a corpus and list each turn below 1.0",
    "audit": "report the scores of known ways to exploit a reward",
    "agreement": "compare a judge's ranking of replies with that of the ground truth",
    "optimize": "optimise an agent's prompt with DSPy",
    "export": "write recorded episodes as training data",
    "train": "train a policy",
    "serve-policy": "serve a trained model behind an endpoint that speaks OpenAI's protocol",
    "data": "download, compile and check corpora",
    "synthesize": "generate dialogues for a schema that you wrote",
}


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands.

    Args:
        command: only this one gets its options, and only its module is imported; ``None`` for all.
    """
    parser = Parser(
        prog="agent-gym", description="Play, evaluate and train agents that talk and call tools."
    )
    parser.add_argument("--version", action="version", version=agent_gym_env.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module, names in _MODULES.items():
        if command is None or command in names:
            import_module(f"agent_gym_env.cli.{module}").add_commands(commands)
        else:
            for name in names:
                commands.add_parser(name, help=_HELP[name])
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    with tolerant_output(), without_library_warnings():
        options = make_parser(words[0] if words else "").parse_args(words)
        if "policy" in options or "reward" in options or "language_model" in options:
            from agent_gym_env.cli.arguments import name_models

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
    except (ValueError, TypeError, *_gymnasium_errors()) as error:
        return _failed(error, USAGE)
    except KeyboardInterrupt:
        if "goes_on" in options:
            return stopped(options.goes_on)
        print("agent-gym: stopped", file=sys.stderr)
        return FAILED
    except OSError as error:
        # No file descriptors or no memory left, for example: not an error of ours.
        return _failed(error, STORAGE)


def _gymnasium_errors() -> tuple[type[Exception], ...]:
    gymnasium = sys.modules.get("gymnasium")
    return () if gymnasium is None else (gymnasium.error.Error,)


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
