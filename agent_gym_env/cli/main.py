"""Entry point of ``agent-gym``: the list of commands, and what ends them.

Only the module of the chosen command is imported, so that help and completion are quick.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NamedTuple

from agent_gym_env.cli.exit_codes import ExitCode, exit_code_of, stopped
from agent_gym_env.cli.output import tolerant_output, without_library_warnings
from agent_gym_env.envs.render import printable
from agent_gym_env.errors import AgentGymError, MissingDependency


class Command(NamedTuple):
    """A command.

    Attributes:
        help: line in the list of commands.
        settings: class of its settings, or module of this folder and name of the class; the class's
            docstring is the description.
        run: function that takes the settings and returns the exit code, or ``None`` for 0; or
            module of this folder and name of the function.
        resume: how to resume it after Ctrl-C; ``None`` if the function says so itself or it must
            begin again.
    """

    help: str
    settings: str | type[Any]
    run: str | Callable[[Any], ExitCode | None]
    resume: str | None = None


_VERDICTS_ARE_KEPT = "the same command again: the verdicts so far are kept"

COMMANDS: dict[str, Command | dict[str, Command]] = {
    "play": Command("play one dialogue and show it", "settings:Play", "play:play_one"),
    "demo": Command(
        "evaluate the offline policies on the sample corpus", "settings:Demo", "play:demo"
    ),
    "evaluate": Command(
        "play policies and report their rewards", "settings:Evaluate", "evaluate:evaluate"
    ),
    "compare": Command(
        "compare two policies, dialogue by dialogue", "settings:Compare", "recorded:compare_files"
    ),
    "rescore": Command(
        "score recorded episodes by another reward",
        "settings:Rescore",
        "recorded:rescore_file",
        _VERDICTS_ARE_KEPT,
    ),
    "report": Command(
        "write an HTML page about recorded episodes", "settings:Report", "recorded:report"
    ),
    "rollout": Command("collect episodes", "settings:Rollout", "rollout:rollout"),
    "verify": Command(
        "play the oracle over a corpus and list each turn below 1.0",
        "settings:Verify",
        "reward_checks:verify_corpus",
        _VERDICTS_ARE_KEPT,
    ),
    "audit": Command(
        "report the score of every known exploit of a reward",
        "settings:Audit",
        "reward_checks:audit_rewards",
        _VERDICTS_ARE_KEPT,
    ),
    "agreement": Command(
        "measure whether a judge ranks replies as a trusted reward does",
        "settings:Agreement",
        "reward_checks:measure_agreement",
        _VERDICTS_ARE_KEPT,
    ),
    "optimize": Command(
        "optimise an agent's prompt with DSPy", "settings:Optimize", "optimize:optimize"
    ),
    "benchmark": {
        "new": Command(
            "write the manifest of a new benchmark", "settings:BenchmarkNew", "benchmark:new"
        ),
        "run": Command(
            "play a benchmark and write its result", "settings:BenchmarkRun", "benchmark:run"
        ),
        "check": Command(
            "check a result without its policy", "settings:BenchmarkCheck", "benchmark:check"
        ),
        "table": Command(
            "write a leaderboard of results", "settings:BenchmarkTable", "benchmark:table"
        ),
    },
    "export": Command(
        "write recorded episodes as training data", "settings:Export", "export:export"
    ),
    "train": {
        "ppo": Command(
            "PPO over candidate actions, with stable-baselines3", "train_ppo:PPO", "train_ppo:ppo"
        ),
        "ppo-acts": Command(
            "PPO over dialogue acts in SGDSim-v0, with stable-baselines3",
            "train_ppo:PPOActs",
            "train_ppo:ppo_acts",
        ),
        "sft": Command("imitate recorded conversations, with TRL", "train_lm:SFT", "train_lm:sft"),
        "dpo": Command(
            "prefer the better message of each pair, with TRL", "train_lm:DPO", "train_lm:dpo"
        ),
        "kto": Command(
            "learn from messages that are labelled good or bad, with TRL",
            "train_lm:KTO",
            "train_lm:kto",
        ),
        "grpo": Command(
            "play the environment and learn from its reward, with TRL",
            "train_lm:GRPO",
            "train_lm:grpo",
        ),
    },
    "serve": Command(
        "serve environments and runs over HTTP and WebSocket", "settings:Serve", "serve:serve"
    ),
    "view": Command(
        "browse and compare recorded episodes in a browser", "settings:View", "view:view"
    ),
    "run-job": Command(
        "run a job that `agent-gym serve` has queued", "settings:RunJob", "run_job:run_job"
    ),
    "serve-policy": Command(
        "serve a trained model behind an endpoint that speaks OpenAI's protocol",
        "settings:ServePolicy",
        "serve_policy:serve_policy",
    ),
    "serve-mcp": Command(
        "let an MCP client play the agent", "settings:ServeMcp", "serve_mcp:serve_mcp"
    ),
    "models": {
        "fetch": Command(
            "make the folder of a model, where the hub cannot be reached too",
            "settings:FetchModel",
            "models:fetch",
        ),
    },
    "hub": {
        "push": Command("publish episodes or a trained policy", "settings:HubPush", "hub:push"),
        "pull": Command("fetch episodes or a trained policy", "settings:HubPull", "hub:pull"),
    },
    "data": {
        "download": Command(
            "download SGD from its public repository", "settings:Download", "data:download_sgd"
        ),
        "build": Command("compile splits into the cache", "settings:Build", "data:build"),
        "info": Command("print what a corpus holds", "settings:Info", "data:info"),
        "verify": Command(
            "check files and compiled splits byte by byte", "settings:VerifyData", "data:verify"
        ),
    },
    "import": Command(
        "make a corpus of the logs of your own assistant", "settings:Import", "data:import_log"
    ),
    "synthesize": Command(
        "generate dialogues for a schema that you wrote", "settings:Synthesize", "data:synthesize"
    ),
    "completion": Command(
        "print the completions of a shell", "settings:Completion", "completion:print_completion"
    ),
}
"""Commands by name; a mapping holds the commands below a name, such as ``data build``."""

_GROUPS = {
    "benchmark": "play benchmarks, check results and show them in tables",
    "train": "train a policy",
    "models": "fetch language models",
    "hub": "publish and fetch on the Hugging Face hub",
    "data": "download, compile and check corpora",
}


def make_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands.

    Args:
        words: a command line: only the command that it names gets its options, which spares the
            imports of the others; ``None`` for all commands whose libraries are installed.
    """
    from agent_gym_env.cli.settings_parser import Parser

    parser = Parser(
        prog="agent-gym", description="Play, evaluate and train agents that talk and call tools."
    )
    parser.add_argument("--version", action=_Version)
    _add_commands(parser, _commands(words), words)
    return parser


def _commands(words: Sequence[str] | None) -> dict[str, Command | dict[str, Command]]:
    """Return all commands; those of a user's trainers only if a command line may name one."""
    trainers: Any = COMMANDS["train"]
    if words is None or words[:1] != ["train"] or words[1:2] == [] or words[1] in trainers:
        return COMMANDS
    from agent_gym_env.registry import TRAINERS

    own = [name for name in TRAINERS.all_names() if name not in TRAINERS.builtin]
    listed = {name: Command(TRAINERS.find(name).help, "", "") for name in own}
    if TRAINERS.knows(words[1]):
        listed[words[1]] = Command(*_named("train_lm:trainer_command")(words[1]))
    return {**COMMANDS, "train": {**trainers, **listed}}


class _Version(argparse.Action):
    """Print the version and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import agent_gym_env

        parser.exit(0, f"{agent_gym_env.__version__}\n")


def _add_commands(
    parser: argparse.ArgumentParser,
    commands: Mapping[str, Command | dict[str, Command]],
    words: Sequence[str] | None,
) -> None:
    chosen = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in commands.items():
        is_named = words is None or name in words[:1]
        deeper = None if words is None else words[1:]
        if isinstance(command, dict):
            group = chosen.add_parser(name, help=_GROUPS[name], description=_GROUPS[name])
            _add_commands(group, command, deeper if is_named else [])
        else:
            added = chosen.add_parser(name, help=command.help)
            if words is None:
                with suppress(MissingDependency):  # this command's library is not installed
                    _add_options(added, command)
            elif is_named:
                _add_options(added, command)


def _add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    from agent_gym_env.cli.settings_parser import add_options

    settings = _named(command.settings)
    parser.description = str(settings.__doc__).partition("Attributes:")[0].strip()
    arguments = add_options(parser, settings)
    parser.usage = " ".join([parser.prog, "[OPTIONS]", *arguments]).replace("%", "%%")
    parser.set_defaults(command=command)


def _named(place: str | Callable[..., Any]) -> Any:
    """Return what a place in this folder names; anything else is returned as it is."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(f"agent_gym_env.cli.{module}"), name)


def parse(words: Sequence[str]) -> tuple[Command, Any]:
    """Return the command that a command line names, and its settings.

    Raises:
        SystemExit: the line is wrong (code 2), or asks for help.
        ValueError: the file of ``--config`` is wrong, or a setting is missing.
    """
    from agent_gym_env.cli.settings_parser import read_settings

    options = make_parser(words).parse_args(words)
    return options.command, read_settings(_named(options.command.settings), options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    with tolerant_output(), without_library_warnings():
        return int(_run(words))


def _run(words: Sequence[str]) -> int:
    how_to_resume: str | None = "the same command again: it had not begun"
    try:
        with _sigterm_as_ctrl_c():
            command, settings = parse(words)
            run = _named(command.run)
            settings = _named("settings:with_language_model")(settings)
            how_to_resume = command.resume
            with _events_of(settings):
                code = run(settings) or ExitCode.DONE
            if sys.stdout is not None:
                sys.stdout.flush()
            return int(code)
    except KeyboardInterrupt:
        if how_to_resume is not None:
            return stopped(how_to_resume)
        print("agent-gym: stopped", file=sys.stderr)
        return ExitCode.FAILED
    except (AgentGymError, ValueError, TypeError, OSError, _gymnasium_error()) as error:
        print(f"agent-gym: {printable(str(error))}", file=sys.stderr)
        return exit_code_of(error)


@contextmanager
def _events_of(settings: Any) -> Iterator[None]:
    """Print the events of a command if its settings ask for them."""
    if not getattr(settings, "events", False):
        yield
        return
    from agent_gym_env.cli.console import print_json
    from agent_gym_env.cli.events import events_to

    with events_to(lambda event: print_json(event, indent=-1)):
        yield


def _gymnasium_error() -> type[Exception]:
    """Return the base of Gymnasium's errors, or of ours as long as Gymnasium is not imported."""
    gymnasium = sys.modules.get("gymnasium")
    return AgentGymError if gymnasium is None else gymnasium.error.Error


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a command prints its results and how to resume it."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
