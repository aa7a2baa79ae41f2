"""``agent-gym optimize``."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

from agent_gym_env.cli.arguments import (
    add_corpus,
    add_json,
    add_model,
    add_variant,
    json_object,
    model_config,
    reward_config,
    whole_number,
)
from agent_gym_env.cli.console import Advance, print_json, print_table, progress
from agent_gym_env.cli.exit_codes import stopped
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.evaluation.table import interval, number, probability, signed
from agent_gym_env.optimization.events import Event, PhaseBegan, TurnScored
from agent_gym_env.optimization.result import OptimizationResult
from agent_gym_env.optimization.runner import CACHE_FOLDER, OptimizationRunner
from agent_gym_env.optimization.settings import Effort, Strategy


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser("optimize", help="optimise an agent's prompt with DSPy")
    add_corpus(parser)
    add_variant(parser)
    parser.add_argument("--strategy", choices=get_args(Strategy), default="mipro")
    parser.add_argument("--effort", choices=get_args(Effort), default="light")
    parser.add_argument("--options", type=json_object, default={}, metavar="JSON",
                        help="of DSPy's optimiser, by its own names")  # fmt: skip
    add_model(parser)
    parser.add_argument("--prompt-model", type=model_config, metavar="MODEL",
                        help="writes instructions; default: the same")  # fmt: skip
    parser.add_argument("--reward", type=reward_config, default={"name": "balanced"})
    parser.add_argument(
        "--num-train", type=int, default=50, metavar="N", help="turns to learn from"
    )
    parser.add_argument("--num-validation", type=int, default=50, metavar="N",
                        help="turns to choose between programs by")  # fmt: skip
    parser.add_argument("--num-held-out", type=int, default=100, metavar="N",
                        help="turns to measure on")  # fmt: skip
    parser.add_argument("--split", choices=SPLITS, default="train", help="to learn from")
    parser.add_argument("--held-out-split", choices=SPLITS, help="to measure on; default: dev")
    parser.add_argument("--program", metavar="FILE", help="a saved program to begin with")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/agent.json"), metavar="FILE",
                        help="the program; <name>_result.json goes beside it")  # fmt: skip
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--threads", type=int, default=8, help="turns played at once")
    parser.add_argument("--temperature", type=float, help="default: the provider's own")
    parser.add_argument("--max-errors", type=int, default=10, help="failures that the run bears")
    parser.add_argument("--events", action="store_true",
                        help="print what happens as JSON, an event a line")  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=_optimize)


def _optimize(options: argparse.Namespace) -> int:
    names = (
        "strategy", "effort", "options", "prompt_model", "reward", "num_train",
        "num_validation", "num_held_out", "split", "held_out_split", "schema_variant", "program",
        "seed", "threads", "temperature", "max_errors",
    )  # fmt: skip
    arguments = {name: getattr(options, name) for name in names}
    _tell_what_was_there(options.out.parent / CACHE_FOLDER)
    with nullcontext() if options.events else progress("baseline") as advance:
        callback = _Progress(advance) if advance else _print_event
        runner = OptimizationRunner(
            options.corpus,
            model=options.language_model,
            output_path=options.out,
            callback=callback,
            **arguments,
        )
        try:
            result = runner.run()
        except KeyboardInterrupt:
            return stopped("the same command, with all answers so far,")
    if options.json:
        print_json(result)
    elif not options.events:
        _print_result(result)
    return 0


def _tell_what_was_there(cache: Path) -> None:
    answers = sum(1 for _ in cache.glob("*/*.json"))
    if answers:
        print(
            f"agent-gym: {cache} has {answers} answers of earlier runs, which are free",
            file=sys.stderr,
        )


def _print_event(event: Event) -> None:
    print_json(event, indent=-1)


class _Progress:
    """Counts the turns of a phase on a bar."""

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
    title = f"{result.strategy}, {len(result.turns.held_out)} held-out turns"
    print_table(("program", "reward", "95 % interval"), rows, title)
    if result.improvement_pct is not None:
        print(f"improvement: {result.improvement_pct:+.1f} % (p {probability(difference.p_value)})")
    counts = result.counts
    print(
        f"{counts.calls} completions, {counts.cached} of them from the cache, {counts.failed} "
        f"failed; ${counts.cost_usd:.4f}"
        + (f", and {counts.unpriced} without a known price" if counts.unpriced else "")
    )
    print(f"{len(result.few_shot_demos)} demonstrations; program: {result.program_path}")
