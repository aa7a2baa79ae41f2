"""``agent-gym verify`` and ``agent-gym audit``: whether a reward can be trusted."""

from __future__ import annotations

import argparse

from agent_gym_env.cli.arguments import (
    Subparsers,
    add_corpus,
    add_json,
    add_variant,
    reward_config,
)
from agent_gym_env.corpus.sgd import SPLITS

_REWARDS = ("ground_truth", "balanced")


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    verification = commands.add_parser(
        "verify", help="play the oracle over a corpus; list each turn below 1.0"
    )
    add_corpus(verification)
    add_variant(verification)
    verification.add_argument("--split", choices=SPLITS, action="append", help="default: all")
    _add_rewards(verification)
    add_json(verification)
    verification.set_defaults(run=_verify)

    gaming = commands.add_parser("audit", help="say what the ways to game a reward earn")
    add_corpus(gaming)
    add_variant(gaming)
    gaming.add_argument("--split", choices=SPLITS, default="dev", help="default: %(default)s")
    gaming.add_argument("--episodes", type=int, metavar="N", help="default: all dialogues")
    gaming.add_argument("--seed", type=int, default=0)
    _add_rewards(gaming)
    add_json(gaming)
    gaming.set_defaults(run=_audit)


def _add_rewards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reward", type=reward_config, action="append", help="default: ground_truth and balanced"
    )
