"""``agent-gym train``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent_gym_env.cli import train_lm
from agent_gym_env.cli.arguments import (
    add_corpus,
    add_json,
    add_model,
    add_variant,
    json_object,
    reward_config,
    whole_number,
)
from agent_gym_env.cli.console import phases, print_json, print_table
from agent_gym_env.cli.exit_codes import stopped
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.cli.settings import with_flags
from agent_gym_env.evaluation.table import interval, number
from agent_gym_env.suggestions import explained
from agent_gym_env.training.curve import CurvePoint, read_curve

if TYPE_CHECKING:
    from agent_gym_env.training.ppo_config import PPOConfig


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    train = commands.add_parser("train", help="train a policy")
    methods = train.add_subparsers(dest="method", required=True, metavar="METHOD")
    ppo = methods.add_parser("ppo", help="PPO over candidate actions, with stable-baselines3")
    add_corpus(ppo)
    add_model(ppo)
    add_variant(ppo)
    ppo.add_argument("--reward", type=reward_config, help="default: balanced")
    ppo.add_argument("--steps", type=whole_number, metavar="N", help="of all environments together")
    ppo.add_argument("--plain", action="store_true", help="PPO instead of MaskablePPO")
    ppo.add_argument("--seed", type=whole_number, help="default: 0")
    ppo.add_argument("--config", type=json_object, default={}, metavar="JSON",
                     help="the rest of agent_gym_env.training.ppo_config.PPOConfig")  # fmt: skip
    ppo.add_argument("--out", type=Path, default=Path("out/ppo"), metavar="DIR",
                     help="policy, checkpoint, learning curve; default: %(default)s")  # fmt: skip
    ppo.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    ppo.add_argument("--tensorboard", action="store_true", help="write events to --out")
    add_json(ppo)
    # No corpus: `_config` has to know which flags were given.
    ppo.set_defaults(run=_ppo, corpus=None)
    train_lm.add_methods(methods)


def _ppo(options: argparse.Namespace) -> int:
    # Only here: what trains is slow to import, and comes with an extra that nothing else needs.
    from agent_gym_env.training.ppo import CHECKPOINT, train_ppo
    from agent_gym_env.training.ppo_report import write_ppo_report

    config = _config(options)
    try:
        with phases() as shown:
            train_ppo(
                config,
                out=options.out,
                resume=options.resume,
                tensorboard=options.tensorboard,
                on_progress=shown.advance,
                on_measured=shown.measured,
            )
        report = write_ppo_report(options.out, config)
    except KeyboardInterrupt:
        if not (options.out / CHECKPOINT).exists():
            raise
        return stopped("the same command with --resume")
    curve = read_curve(options.out / "curve.jsonl")
    if options.json:
        print_json(curve)
    else:
        _print_curve(curve, config.evaluation.split)
        print(f"policy: {options.out / f'{curve[-1].stage}.npz'}; report: {report}")
    return 0


def _print_curve(curve: Sequence[CurvePoint], split: str) -> None:
    rows = [
        (
            each.stage,
            f"{each.steps:,}",
            f"{each.cpu_s:.0f}",
            number(each.reward.mean),
            interval(each.reward),
        )
        for each in curve
    ]
    title = f"{curve[-1].reward.count:,} turns of {split}"
    print_table(("policy", "steps", "CPU s", "reward per turn", "95 % interval"), rows, title)


def _config(options: argparse.Namespace) -> PPOConfig:
    from agent_gym_env.training.ppo_config import PPOConfig

    settings = with_flags(
        options.config,
        (
            ("--corpus", "world.env.corpus", options.corpus),
            ("--schema-variant", "world.env.schema_variant", options.schema_variant),
            ("--reward", "world.reward", options.reward),
            ("--steps", "total_timesteps", options.steps),
            ("--plain", "masked", False if options.plain else None),
            ("--seed", "seed", options.seed),
        ),
    )
    try:
        return msgspec.convert(settings, PPOConfig)
    except msgspec.ValidationError as error:
        problem, path = explained(error, PPOConfig)
        raise ValueError(f"--config{path}: {problem}") from error
