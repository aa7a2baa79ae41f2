"""``agent-gym optimize``: optimise an agent's prompt with DSPy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.cli.console import Advance, print_json, print_table, progress
from agent_gym_env.cli.events import wanted_events
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.settings import Optimize
from agent_gym_env.evaluation.table import interval, number, probability, signed
from agent_gym_env.optimization.monitor import Event, PhaseBegan, TurnScored
from agent_gym_env.optimization.result import OptimizationResult
from agent_gym_env.optimization.runner import CACHE_FOLDER, OptimizationRunner
from agent_gym_env.training.trackers import open_trackers


def optimize(settings: Optimize) -> ExitCode:
    """Optimise a program and print how far its reward exceeds that of the untouched one."""
    names = (
        "strategy", "effort", "options", "prompt_model", "env", "reward", "num_train",
        "num_validation", "num_held_out", "split", "held_out_split", "schema_variant", "program",
        "seed", "threads", "temperature", "max_errors",
    )  # fmt: skip
    arguments = {name: getattr(settings, name) for name in names}
    _print_what_was_there(settings.out.parent / CACHE_FOLDER)
    events = wanted_events()
    tracked = open_trackers(settings.track, out=settings.out.parent, settings=_shown(arguments))
    with tracked as tracker, progress("baseline") as advance:
        callback = events.emit_struct if events else _Progress(advance)
        runner = OptimizationRunner(
            settings.corpus,
            model=settings.model,
            output_path=settings.out,
            callback=callback,
            **arguments,
        )
        try:
            result = runner.run()
        except KeyboardInterrupt:
            return stopped("the same command again: the answers so far are kept")
        tracker.log(0, _figures(result))
    if settings.json:
        print_json(result)
    elif not events:
        _print_result(result)
    return ExitCode.DONE


def _shown(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run for a tracker; what is not JSON is shown as a text."""
    shown: dict[str, Any] = msgspec.to_builtins(arguments, enc_hook=str)
    return shown


def _figures(result: OptimizationResult) -> dict[str, float]:
    """Return the figures of a result for a tracker."""
    figures = {
        "baseline/reward": result.baseline.reward.mean,
        "optimized/reward": result.optimized.reward.mean,
        "completions": result.counts.calls,
        "cost_usd": result.counts.cost_usd,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _print_what_was_there(cache: Path) -> None:
    answers = sum(1 for _ in cache.glob("*/*.json"))
    if answers:
        print(
            f"agent-gym: {cache} has {answers} answers of earlier runs, which are free",
            file=sys.stderr,
        )


class _Progress:
    """Counts the examples of a phase on a bar."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._done = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseBegan):
            self._done = 0
        elif isinstance(event, TurnScored):
            self._done += 1
            self._advance(self._done, None)


def _print_result(result: OptimizationResult) -> None:
    baseline, optimized, difference = (
        result.baseline.reward, result.optimized.reward, result.difference,
    )  # fmt: skip
    rows = [
        ("baseline", number(baseline.mean), interval(baseline)),
        ("optimized", number(optimized.mean), interval(optimized)),
        ("difference", signed(difference.difference), interval(difference)),
    ]
    title = f"{result.strategy}, {len(result.turns.held_out)} held-out {result.unit}s"
    print_table(("program", "reward", "95 % interval"), rows, title)
    if result.unit == "dialogue":
        for part, before in result.baseline.components.items():
            after = result.optimized.components[part]
            print(f"{part}: {number(before.mean)} before, {number(after.mean)} after")
    if result.improvement_pct is not None:
        print(f"improvement: {result.improvement_pct:+.1f} % (p {probability(difference.p_value)})")
    counts = result.counts
    print(
        f"{counts.calls} completions, {counts.cached} of them from the cache, {counts.failed} "
        f"failed; ${counts.cost_usd:.4f}"
        + (f", and {counts.unpriced} without a known price" if counts.unpriced else "")
    )
    print(f"{len(result.few_shot_demos)} demonstrations; program: {result.program_path}")
