"""``agent-gym train sft``, ``dpo`` and ``grpo``: training a language model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from agent_gym_env.cli.arguments import (
    add_chat_template,
    add_corpus,
    add_json,
    add_variant,
    json_object,
    positive,
    reward_config,
    whole_number,
)
from agent_gym_env.cli.console import phases, print_json
from agent_gym_env.cli.exit_codes import stopped
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.cli.settings import with_flags
from agent_gym_env.lm.huggingface_models import check_model_path
from agent_gym_env.suggestions import explained
from agent_gym_env.training.config import TINY
from agent_gym_env.training.trainers import TRAINERS, Trainer


def add_methods(methods: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the methods of this module to ``agent-gym train``."""
    for name, trainer in TRAINERS.items():
        parser = methods.add_parser(name, help=trainer.help)
        parser.add_argument(
            "rows", nargs="+", metavar="ROWS", help="files that `agent-gym export` wrote"
        )
        parser.add_argument(
            "--model",
            required=True,
            help="a folder, a name on Hugging Face's hub, or, for sft, 'tiny'",
        )
        parser.add_argument(
            "--held-out",
            nargs="+",
            metavar="ROWS",
            help="such files of other dialogues, to measure on",
        )
        parser.add_argument("--epochs", type=float, metavar="N")
        parser.add_argument("--steps", type=positive, metavar="N", help="instead of epochs")
        parser.add_argument("--learning-rate", type=float, metavar="RATE")
        parser.add_argument("--lora", action="store_true", help="train adapters, and merge them")
        parser.add_argument("--seed", type=whole_number, help="default: 0")
        add_chat_template(parser)
        parser.add_argument(
            "--config",
            type=json_object,
            default={},
            metavar="JSON",
            help=f"the other settings of {trainer.config}",
        )
        parser.add_argument(
            "--out",
            type=Path,
            default=Path("out", name),
            metavar="DIR",
            help="model, measurements, checkpoints; default: %(default)s",
        )
        parser.add_argument(
            "--resume", action="store_true", help="go on from the last checkpoint in --out"
        )
        parser.add_argument("--tensorboard", action="store_true", help="write events to --out")
        add_json(parser)
        parser.set_defaults(run=_train)
        if name == "grpo":
            _add_play(parser)


def _add_play(parser: argparse.ArgumentParser) -> None:
    """Add what a method that plays needs to know beside the rows."""
    add_corpus(parser)
    # None: `_config` has to know whether it was given.
    parser.set_defaults(corpus=None)
    add_variant(parser)
    parser.add_argument("--reward", type=reward_config, help="default: balanced")
    parser.add_argument("--turns", type=positive, metavar="N", help="from each row; default: 1")
    parser.add_argument("--algorithm", choices=("grpo", "rloo"), help="default: grpo")


def _train(options: argparse.Namespace) -> int:
    trainer = TRAINERS[options.method]
    config = _config(options, trainer)
    if options.model != TINY:
        check_model_path(options.model)  # before the libraries are imported, which takes long
    if options.resume:
        _tell_what_was_there(options.out)
    try:
        with phases() as shown:
            path = trainer.train_function()(
                config,
                out=options.out,
                resume=options.resume,
                tensorboard=options.tensorboard,
                on_progress=shown.advance,
                on_measured=shown.measured,
            )
    except KeyboardInterrupt:
        if not (options.out / "run.json").exists():
            raise
        return stopped("the same command with --resume")
    report = msgspec.json.decode((options.out / "report.json").read_bytes())
    if options.json:
        print_json({"model": str(path), **report})
        return 0
    for name, value in report.items():
        print(f"{name.replace('_', ' ')}: {value}")
    print(f'model: {path}; play it: --policy \'{{"name": "transformers", "path": "{path}"}}\'')
    return 0


def _tell_what_was_there(out: Path) -> None:
    # Slow to import, and needed next anyway.
    from agent_gym_env.training.trl_callbacks import last_complete

    checkpoint = last_complete(out / "checkpoints")
    what = (
        f"resuming from {checkpoint}"
        if checkpoint
        else f"starting from the beginning: {out} has no checkpoint"
    )
    print(f"agent-gym: {what}", file=sys.stderr)


def _config(options: argparse.Namespace, trainer: Trainer) -> msgspec.Struct:
    flags = [
        ("--model", "model", options.model),
        ("ROWS", "rows", options.rows),
        ("--held-out", "held_out", options.held_out),
        ("--seed", "seed", options.seed),
        ("--chat-template", "chat_template", options.chat_template),
        ("--epochs", "epochs", options.epochs),
        ("--steps", "max_steps", options.steps),
        ("--learning-rate", "learning_rate", options.learning_rate),
        ("--lora", "lora", {} if options.lora else None),
    ]
    if options.method == "grpo":
        flags += [
            ("--corpus", "env.corpus", options.corpus),
            ("--schema-variant", "env.schema_variant", options.schema_variant),
            ("--reward", "reward", options.reward),
            ("--turns", "turns", options.turns),
            ("--algorithm", "algorithm", options.algorithm),
        ]
    settings = with_flags(options.config, flags)
    try:
        return msgspec.convert(settings, trainer.config_class())
    except msgspec.ValidationError as error:
        problem, path = explained(error, trainer.config_class())
        raise ValueError(f"the configuration of {options.method}{path}: {problem}") from error
