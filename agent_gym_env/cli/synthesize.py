"""``agent-gym synthesize``."""

from __future__ import annotations

import argparse
from pathlib import Path

from agent_gym_env.cli.arguments import (
    add_json,
    positive,
    whole_number,
)
from agent_gym_env.cli.console import print_json
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.synthesis.corpus_synthesis import synthesize_corpus


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser("synthesize", help="write dialogues for a schema of your own")
    parser.add_argument("--schema", type=Path, required=True, help="services, as SGD's schema.json")
    parser.add_argument("--entities", type=Path, required=True, help="see docs/guides/synthesis.md")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", choices=SPLITS, default="train", help="default: %(default)s")
    parser.add_argument(
        "-n", "--dialogues", type=positive, default=300, help="default: %(default)s"
    )
    parser.add_argument("--seed", type=whole_number, default=0)
    add_json(parser)
    parser.set_defaults(run=_synthesize)


def _synthesize(options: argparse.Namespace) -> None:
    summary = synthesize_corpus(
        options.schema,
        options.entities,
        options.out,
        options.dialogues,
        options.seed,
        split=options.split,
    )
    if options.json:
        print_json(summary)
    else:
        print(
            f"{summary.folder}: {summary.dialogues} dialogues about {summary.services} services. "
            f"Use it with: --corpus {options.out} --split {options.split}"
        )
