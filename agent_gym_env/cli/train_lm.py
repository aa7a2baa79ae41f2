"""``agent-gym train sft``, ``dpo`` and ``grpo``: train a language model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agent_gym_env.cli.console import phases, print_json
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.settings import Folder, Variant
from agent_gym_env.lm.huggingface_models import check_model_path
from agent_gym_env.registry import TRAINERS
from agent_gym_env.training.config import TINY

_Rows = Annotated[
    tuple[str, ...], msgspec.Meta(min_length=1, extra={"positional": True, "metavar": "ROWS"})
]


def _settings_of(trainer: str, explanations: str = "", **more: Any) -> Any:
    """Return the struct of a command: the settings of its trainer, and where the run is kept."""
    return msgspec.defstruct(
        trainer.upper(),
        [
            ("rows", _Rows),
            ("out", Folder, Path("out", trainer)),
            ("resume", bool, False),
            ("tensorboard", bool, False),
            ("json", bool, False),
            *((name, type_, None) for name, type_ in more.items()),
        ],
        bases=(TRAINERS.find(trainer).config_class(),),
        namespace={"__doc__": _DESCRIPTION.format(TRAINERS.find(trainer).help, explanations)},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


_DESCRIPTION = """Train a language model: {}.

    Attributes:
        rows: files that `agent-gym export` wrote.
        out: folder for the model, measurements and checkpoints.
        resume: continue from the last checkpoint in the folder, or begin where there is none.
        tensorboard: write TensorBoard events to the folder.
        json: print the report as JSON.{}
"""
_OF_PLAY = """
        corpus: corpus, in place of the one in --env: 'sample', 'sgd' or a path.
        schema_variant: variant of SGD-X, in place of the one in --env."""

SFT, DPO = _settings_of("sft"), _settings_of("dpo")
GRPO = _settings_of("grpo", _OF_PLAY, corpus=str | None, schema_variant=Variant | None)


def sft(settings: Any) -> ExitCode:
    """Train by imitation."""
    return _train("sft", settings)


def dpo(settings: Any) -> ExitCode:
    """Train by preferences."""
    return _train("dpo", settings)


def grpo(settings: Any) -> ExitCode:
    """Train by reinforcement learning."""
    given = {name: getattr(settings, name) for name in ("corpus", "schema_variant")}
    env = {**settings.env, **{name: value for name, value in given.items() if value}}
    reward = _with_model_of_judge(settings.reward)
    return _train("grpo", msgspec.structs.replace(settings, env=env, reward=reward))


def _with_model_of_judge(reward: str | dict[str, Any]) -> str | dict[str, Any]:
    """Name the language model of a judge that names none, so that the run records it."""
    from agent_gym_env.assembly import name_model
    from agent_gym_env.registry import REWARDS

    config = {"name": reward} if isinstance(reward, str) else reward
    named = name_model(config, kind=REWARDS)
    return reward if named == config else named


def _train(name: str, settings: Any) -> ExitCode:
    trainer = TRAINERS.find(name)
    config_class = trainer.config_class()
    config = config_class(
        **{each: getattr(settings, each) for each in config_class.__struct_fields__}
    )
    if settings.model != TINY:
        check_model_path(settings.model)  # before the libraries are imported, which takes long
    if settings.resume:
        _print_what_was_there(settings.out)
    try:
        with phases() as shown:
            path = trainer.train_function()(
                config,
                out=settings.out,
                resume=settings.resume,
                tensorboard=settings.tensorboard,
                on_progress=shown.advance,
                on_measured=shown.measured,
            )
    except KeyboardInterrupt:
        if not (settings.out / "run.json").exists():
            raise
        return stopped("the same command with --resume")
    report = msgspec.json.decode((settings.out / "report.json").read_bytes())
    if settings.json:
        print_json({"model": str(path), **report})
        return ExitCode.DONE
    for key, value in report.items():
        print(f"{key.replace('_', ' ')}: {value}")
    print(f'model: {path}; play it: --policy \'{{"name": "transformers", "path": "{path}"}}\'')
    return ExitCode.DONE


def _print_what_was_there(out: Path) -> None:
    # Slow to import, and needed next anyway.
    from agent_gym_env.training.trl_callbacks import last_complete

    checkpoint = last_complete(out / "checkpoints")
    what = (
        f"resuming from {checkpoint}"
        if checkpoint
        else f"starting from the beginning: {out} has no checkpoint"
    )
    print(f"agent-gym: {what}", file=sys.stderr)
