"""``agent-gym rollout``: collect episodes, or check what a folder holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from agent_gym_env.assembly import collect
from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.events import wanted_events
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.settings import Rollout
from agent_gym_env.rollout.collect import Progress
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.rollout.journal.reading import last_failure
from agent_gym_env.rollout.journal.recovery import JournalCheck, check_journal
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import Runner


def rollout(settings: Rollout) -> ExitCode:
    """Collect episodes, or check those that a folder holds.

    Raises:
        ValueError: no policy is named.
    """
    if settings.check:
        return _check(settings)
    if not settings.policy:
        raise ValueError("--policy is required")
    names = (
        "episodes", "seed", "best_of", "keep_all", "branches", "path", "states", "continuations",
        "workers", "retry_failed", "new_run", "max_episode_steps",
    )  # fmt: skip
    arguments = {name: getattr(settings, name) for name in names} | settings.environment()
    arguments["reward"] = settings.reward or settings.default_reward()
    arguments["runner"] = _runner(settings)
    with progress_bar() as on_progress:
        try:
            result = collect(
                list(settings.policy), settings.out, on_progress=on_progress, **arguments
            )
        except KeyboardInterrupt:
            return stopped("the same command again")
    if settings.json:
        print_json(result)
    elif not settings.events:
        _print_result(result)
    if result.failed:
        _print_last_failure(Path(result.folder))
    has_failures = result.failed or result.failed_branches
    return ExitCode.FAILED if has_failures else ExitCode.DONE


def _print_last_failure(folder: Path) -> None:
    failure = last_failure(folder)
    if failure is not None:
        where = f", dialogue {failure.dialogue_id}" if failure.dialogue_id else ""
        print(f"agent-gym: the last failure{where}: {failure.error}", file=sys.stderr)


def _runner(settings: Rollout) -> str | Runner:
    if settings.address is None:
        return str(settings.runner)
    if settings.runner != "ray":
        raise ValueError(f"--address needs --runner ray, not {settings.runner!r}")
    return RayRunner(settings.workers, address=settings.address)


def _check(settings: Rollout) -> ExitCode:
    found = check_journal(settings.out)
    if settings.json:
        print_json(found)
    else:
        torn = f"; {found.torn_bytes} bytes of a torn line at the end" if found.torn_bytes else ""
        print(f"{found.folder}: {_counts(found)}; every line is intact{torn}")
    return ExitCode.DONE


def _print_result(result: Progress) -> None:
    before = result.done + result.failed - result.played
    print(
        f"{result.folder}: {_counts(result)}"
        + (f", {before} of them from before" if before > 0 else "")
        + (f"; cut off {result.healed_bytes} torn bytes" if result.healed_bytes else "")
        + f"; {result.elapsed_s:.1f} s, {result.per_s:.1f}/s"
    )
    if result.spending.completions:
        print(spending_text(result.spending))


def spending_text(spending: Spending) -> str:
    """Format completions, tokens and cost."""
    return (
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
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Show rate, cost and time left on the standard error output, where it is a terminal.

    Where events are wanted, they are emitted instead.
    """
    if (events := wanted_events()) is not None:
        yield lambda progress: events.progress(
            "episodes",
            progress.done + progress.failed,
            progress.jobs,
            failed=progress.failed,
            spending=msgspec.to_builtins(progress.spending),
        )
        return
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
