"""``agent-gym rollout``: collect episodes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agent_gym_env.assembly import RUNNER_NAMES, collect
from agent_gym_env.cli.arguments import (
    Subparsers,
    add_json,
    add_world,
    policy_config,
    positive,
    reward_config,
    whole_number,
    world_arguments,
)
from agent_gym_env.cli.console import print_json

STOPPED = 3


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "rollout",
        help="collect episodes",
        description="Collect episodes into a folder. Whatever stops it, the same command goes on.",
    )
    add_world(parser, split="train")
    parser.add_argument(
        "--policy", type=policy_config, action="append", required=True,
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
    parser.add_argument("--runner", choices=RUNNER_NAMES, default="serial")
    parser.add_argument(
        "--workers", type=positive, default=2, metavar="K",
        help="threads, processes or actors, or dialogues in step; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="play those that failed again")
    parser.add_argument(
        "--new-run", action="store_true",
        help="where DIR holds a run of another configuration take DIR-2, DIR-3, …",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=_rollout)


def _rollout(options: argparse.Namespace) -> int:
    names = (
        "episodes", "seed", "best_of", "keep_all", "branches", "path", "runner", "workers",
        "retry_failed", "new_run", "reward", "max_episode_steps",
    )  # fmt: skip
    arguments = {name: getattr(options, name) for name in names}
    try:
        result = collect(options.policy, options.out, **arguments, **world_arguments(options))
    except KeyboardInterrupt:
        print(f"agent-gym: stopped; the same command goes on in {options.out}", file=sys.stderr)
        return STOPPED
    print_json(result)
    return 1 if result.manifest.failed else 0
