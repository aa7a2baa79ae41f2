"""``agent-gym benchmark``: make a manifest, play it, check a result, and show results in tables."""

from __future__ import annotations

import sys

from agent_gym_env.benchmark.check import check_result
from agent_gym_env.benchmark.leaderboard import tables, write_leaderboard
from agent_gym_env.benchmark.manifest import new_manifest, write_manifest
from agent_gym_env.benchmark.result import Result
from agent_gym_env.benchmark.run import RESULT, run_benchmark
from agent_gym_env.cli.console import print_json, print_table
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.rollout import progress_bar, spending_text
from agent_gym_env.cli.settings import BenchmarkCheck, BenchmarkNew, BenchmarkRun, BenchmarkTable
from agent_gym_env.envs.render import printable
from agent_gym_env.errors import STOPS_THE_RUN
from agent_gym_env.evaluation.table import with_interval

_RESUME = "the same command again"


def new(settings: BenchmarkNew) -> None:
    """Write a manifest, and print its hash."""
    arguments = settings.environment()
    names = (
        "name", "episodes", "seed", "trials", "reward", "max_episode_steps", "description",
        "corpus_name",
    )  # fmt: skip
    arguments |= {name: getattr(settings, name) for name in names}
    manifest = new_manifest(**arguments)
    write_manifest(manifest, settings.out)
    if settings.json:
        print_json({"manifest": str(settings.out), "hash": manifest.hash})
    else:
        print(f"{settings.out}: {manifest.dialogue_count} dialogues, hash {manifest.hash}")


def run(settings: BenchmarkRun) -> ExitCode:
    """Play a benchmark into a folder, and print the figures."""
    with progress_bar() as on_progress:
        try:
            result = run_benchmark(
                settings.manifest,
                settings.policy,
                settings.out,
                corpus=settings.corpus,
                label=settings.label,
                note=settings.note,
                runner=settings.runner,
                workers=settings.workers,
                retry_failed=settings.retry_failed,
                on_progress=on_progress,
            )
        except KeyboardInterrupt:
            return stopped(_RESUME)
        except STOPS_THE_RUN as error:
            print(f"agent-gym: {printable(str(error))}", file=sys.stderr)
            return stopped(_RESUME)
    if settings.json:
        shown = {"result": str(settings.out / RESULT), "hash": result.hash}
        print_json({**shown, "figures": result.figures})
    else:
        _print_figures(result)
        print(f"{settings.out / RESULT}: {len(result.episodes)} episodes, hash {result.hash}")
    return ExitCode.FAILED if result.figures.failed else ExitCode.DONE


def _print_figures(result: Result) -> None:
    figures, trials = result.figures, result.manifest.trials
    shown = {name.replace("_", " "): each for name, each in figures.estimates.items()}
    if trials > 1:
        shown |= {f"strict pass^{each.k}": each.strict for each in figures.pass_all}
    rows = [(name, *with_interval(each), str(each.count)) for name, each in shown.items()]
    title = f"{result.label}, {result.manifest.name}"
    print_table(("figure", "mean", "95 % interval", "values"), rows, title)
    if result.figures.spending is not None:
        print(spending_text(result.figures.spending))
    if result.figures.failed:
        print(f"{result.figures.failed} episodes broke off, and count as failures")


def check(settings: BenchmarkCheck) -> ExitCode:
    """Check a result, and print what matches, what does not, and what cannot be proved."""
    found = check_result(
        settings.result,
        journal=settings.journal,
        corpus=settings.corpus,
        manifest=settings.manifest,
    )
    if settings.json:
        print_json(found)
    else:
        parts = {
            "does not match": found.problems,
            "checked": found.checked,
            "not checked": found.not_checked,
            "no check can prove": found.cannot_prove,
        }
        for title, lines in parts.items():
            print(f"{title}: {'' if lines else 'nothing'}".rstrip())
            for line in lines:
                print(f"- {printable(line)}")
    return ExitCode.DONE if found.is_right else ExitCode.FAILED


def table(settings: BenchmarkTable) -> ExitCode:
    """Write a page about the results in a folder, and print their tables."""
    leaderboard = write_leaderboard(settings.folder, settings.out)
    if settings.json:
        print_json(leaderboard)
    else:
        for board in leaderboard.boards:
            print(f"{printable(board.manifest.name)}, manifest {board.manifest_hash[:12]}")
            for each in tables(board):
                print_table(each.header, each.rows, each.title)
        for left_out in leaderboard.left_out:
            print(printable(f"left out: {left_out.file}: {'; '.join(left_out.reasons)}"))
        print(settings.out)
    return ExitCode.FAILED if leaderboard.left_out else ExitCode.DONE
