"""``agent-gym rollout``: collect episodes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from agent_gym_env.assembly import collect
from agent_gym_env.cli.arguments import (
    add_json,
    add_world,
    policy_config,
    positive,
    reward_config,
    whole_number,
    world_arguments,
)
from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.exit_codes import stopped
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.rollout.collect import Progress
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.recovery import JournalCheck, check_journal
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import Runner

_RUNNERS = (
    "serial (the default): one after another, best for policies that take less than 5 ms a turn; "
    "threads: policies that wait for a server; processes: policies that compute for 5 ms a turn or "
    "more, since starting processes costs more than cheap policies do; lockstep: policies that "
    "answer many dialogues at once, as a model on a GPU does; ray: several machines"
)


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "rollout",
        help="collect episodes",
        description="Collect episodes into a folder. Whatever stops it, the same command goes on.",
    )
    add_world(parser, split="train")
    parser.add_argument(
        "--policy", type=policy_config, action="append",
        help="a name, or a JSON object with options; several where they branch",
    )  # fmt: skip
    parser.add_argument(
        "--reward", type=reward_config, default={"name": "balanced"},
        help="a preset (default: balanced), or a JSON object with options",
    )  # fmt: skip
    parser.add_argument(
        "--episodes", type=positive, metavar="N",
        help="default: each dialogue once; if there are fewer they are played again",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--max-episode-steps", type=positive, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--best-of", type=positive, default=1, metavar="N",
        help="play each dialogue so often and keep the best episode",
    )  # fmt: skip
    parser.add_argument("--keep-all", action="store_true", help="of these keep all")
    parser.add_argument(
        "--branches", type=positive, default=0, metavar="N",
        help="from each state of a dialogue let each policy play on so often",
    )  # fmt: skip
    parser.add_argument(
        "--path", type=policy_config, default={"name": "oracle"},
        help="the policy that walks from state to state; default: oracle",
    )  # fmt: skip
    parser.add_argument("--runner", default="serial", metavar="NAME", help=_RUNNERS)
    parser.add_argument(
        "--workers", type=positive, default=2, metavar="K",
        help="threads, processes or actors, or dialogues in step; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--address", metavar="ADDRESS",
        help="with --runner ray: the cluster to join, 'auto' or HOST:PORT; default: RAY_ADDRESS, "
        "or Ray on this machine",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="play those that failed again")
    parser.add_argument(
        "--new-run", action="store_true",
        help="where DIR holds a run of another configuration take DIR-2, DIR-3, …",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="play nothing: check what DIR holds")
    add_json(parser)
    parser.set_defaults(run=_rollout)


def _rollout(options: argparse.Namespace) -> int:
    if options.check:
        return _check(options)
    if options.policy is None:
        raise ValueError("--policy is required")
    names = (
        "episodes", "seed", "best_of", "keep_all", "branches", "path", "workers", "retry_failed",
        "new_run", "reward", "max_episode_steps",
    )  # fmt: skip
    arguments = {name: getattr(options, name) for name in names} | world_arguments(options)
    arguments["runner"] = _runner(options)
    with _bar() as on_progress:
        try:
            result = collect(options.policy, options.out, on_progress=on_progress, **arguments)
        except KeyboardInterrupt:
            return stopped("the same command")
    if options.json:
        print_json(result)
    else:
        _print_result(result)
    return 1 if result.failed or result.failed_branches else 0


def _runner(options: argparse.Namespace) -> str | Runner:
    if options.address is None:
        return str(options.runner)
    if options.runner != "ray":
        raise ValueError(f"--address needs --runner ray, not {options.runner!r}")
    return RayRunner(options.workers, address=options.address)


def _check(options: argparse.Namespace) -> int:
    found = check_journal(options.out)
    if options.json:
        print_json(found)
    else:
        torn = f"; {found.torn_bytes} bytes of a torn line at the end" if found.torn_bytes else ""
        print(f"{found.folder}: {_counts(found)}; every line is as it was written{torn}")
    return 0


def _print_result(result: Progress) -> None:
    before = result.done + result.failed - result.played
    print(
        f"{result.folder}: {_counts(result)}"
        + (f", {before} of them from before" if before > 0 else "")
        + (f"; cut off {result.healed_bytes} torn bytes" if result.healed_bytes else "")
        + f"; {result.elapsed_s:.1f} s, {result.per_s:.1f}/s"
    )
    spending = result.spending
    if spending.completions:
        print(
            f"{spending.completions} completions, {spending.prompt_tokens} + "
            f"{spending.completion_tokens} tokens, {_cost(spending)}"
        )


def _counts(found: Progress | JournalCheck) -> str:
    unit = "episodes" if found.kind == "episodes" else "dialogues with branches"
    failed = f", {found.failed} failed" if found.failed else ""
    if found.failed_branches:
        failed += f", {found.failed_branches} branches failed"
    return f"{found.done} of {found.jobs} {unit}{failed}"


def _cost(spending: Spending) -> str:
    unpriced = f" and {spending.unpriced} without a known price" if spending.unpriced else ""
    return f"${spending.cost_usd:.4f}{unpriced}"


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Show rate, cost and time left on the standard error output, where it is a terminal."""
    console = Console(file=sys.stderr)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with RichProgress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None, said="")

        def show(progress: Progress) -> None:
            left = timedelta(seconds=round(progress.remaining_s or 0.0))
            said = f"{progress.per_s:.1f}/s {_cost(progress.spending)} {left} left"
            if progress.failed:
                said += f", {progress.failed} failed"
            bar.update(
                task, completed=progress.done + progress.failed, total=progress.jobs, said=said
            )

        yield show
