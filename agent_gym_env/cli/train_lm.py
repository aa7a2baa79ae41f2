"""``agent-gym train sft``, ``dpo``, ``kto``, ``grpo`` and your own trainers."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agent_gym_env.cli.console import phases, print_json
from agent_gym_env.cli.exit_codes import ExitCode, stopped
from agent_gym_env.cli.settings import CorpusName, Folder, Variant
from agent_gym_env.cli.settings_parser import Named
from agent_gym_env.errors import AgentGymError
from agent_gym_env.lm.huggingface_models import check_model_path
from agent_gym_env.registry import TRAINERS
from agent_gym_env.suggestions import parameters
from agent_gym_env.training.config import TINY, TrainingConfig
from agent_gym_env.training.trackers import Tracker, open_trackers
from agent_gym_env.training.trainers import Trainer

_Rows = Annotated[
    tuple[str, ...], msgspec.Meta(min_length=1, extra={"positional": True, "metavar": "ROWS"})
]


def settings_of(name: str) -> Any:
    """Return the struct of a command: the settings of its trainer, and where the run is kept."""
    trainer = _trainer(name)
    config = trainer.config_class()
    settings = set(config.__struct_fields__)
    short = re.split("[:.]", name)[-1]
    more: list[tuple[str, Any, Any]] = [
        ("out", Folder, Path("out", short)),
        ("resume", bool, False),
        ("tensorboard", bool, False),
        ("track", tuple[Named, ...], ()),
        ("json", bool, False),
        ("events", bool, False),
    ]
    if plays := settings >= {"env", "reward"}:
        more += [("corpus", CorpusName | None, None), ("schema_variant", Variant | None, None)]
    return msgspec.defstruct(
        short.upper(),
        [*([("rows", _Rows)] if "rows" in settings else []), *more],
        bases=(config,),
        namespace={"__doc__": _DESCRIPTION.format(trainer.help, _OF_PLAY if plays else "")},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _trainer(name: str) -> Trainer:
    """Look a trainer up.

    Raises:
        ValueError: there is none of this name, or its settings are not a struct.
        AgentGymError: its settings cannot be imported.
    """
    trainer = TRAINERS.find(name)
    if not isinstance(trainer, Trainer):
        raise ValueError(
            f"trainer {name!r} must be an agent_gym_env.training.trainers.Trainer, not an object "
            f"of the type {type(trainer).__name__}"
        )
    try:
        config: object = trainer.config_class()
    except AgentGymError:
        raise
    except (ImportError, AttributeError) as error:
        raise AgentGymError(
            f"trainer {name!r}: its settings {trainer.config!r} cannot be imported: {error}"
        ) from error
    if not (isinstance(config, type) and issubclass(config, msgspec.Struct)):
        raise ValueError(
            f"trainer {name!r}: {trainer.config!r} must be a subclass of TrainingConfig"
        )
    return trainer


def trainer_command(name: str) -> tuple[str, Any, Callable[[Any], ExitCode]]:
    """Return the fields of the `agent_gym_env.cli.main.Command` of a user's trainer."""
    return _trainer(name).help, settings_of(name), partial(train, name)


_DESCRIPTION = """Train a language model: {}.

    Attributes:
        rows: files that `agent-gym export` wrote.
        out: folder for the model, measurements and checkpoints.
        resume: continue from the last checkpoint in the folder, or begin where there is none.
        tensorboard: write TensorBoard events to the folder.
        track: trackers of the measurements: tensorboard, wandb, mlflow, trackio or one of your own;
            for each a name, or a JSON object with a name and options.
        json: print the report as JSON.
        events: print each event of the run as one line of JSON.{}
"""
_OF_PLAY = """
        corpus: corpus, in place of the one in --env: 'sample', 'sgd', a path, or a JSON object with
            a name and options.
        schema_variant: variant of SGD-X, in place of the one in --env."""

SFT, DPO, KTO, GRPO = map(settings_of, ("sft", "dpo", "kto", "grpo"))


def sft(settings: Any) -> ExitCode:
    """Train by imitation."""
    return train("sft", settings)


def dpo(settings: Any) -> ExitCode:
    """Train by preferences."""
    return train("dpo", settings)


def kto(settings: Any) -> ExitCode:
    """Train by labels."""
    return train("kto", settings)


def grpo(settings: Any) -> ExitCode:
    """Train by reinforcement learning."""
    return train("grpo", settings)


def _config_of(config_class: type[msgspec.Struct], settings: Any) -> Any:
    """Return the configuration of a training run."""
    values = {each: getattr(settings, each) for each in config_class.__struct_fields__}
    if values.keys() >= {"env", "reward"}:
        given = {each: getattr(settings, each) for each in ("corpus", "schema_variant")}
        env = {"name": values["env"]} if isinstance(values["env"], str) else values["env"]
        values["env"] = {**env, **{each: given[each] for each in given if given[each]}}
        values["reward"] = _with_model_of_judge(values["reward"])
    return config_class(**values)


def _with_model_of_judge(reward: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """Name the language model of a judge that names none, so that the run records it."""
    from agent_gym_env.assembly import name_model
    from agent_gym_env.registry import REWARDS

    if reward is None:
        return None
    config = {"name": reward} if isinstance(reward, str) else reward
    named = name_model(config, kind=REWARDS)
    return reward if named == config else named


def train(name: str, settings: Any) -> ExitCode:
    """Train with a trainer, and print its report."""
    trainer = _trainer(name)
    config = _config_of(trainer.config_class(), settings)
    if getattr(settings, "model", TINY) != TINY:
        check_model_path(settings.model)  # before the libraries are imported, which takes long
    if settings.resume and isinstance(config, TrainingConfig):
        _print_what_was_there(settings.out)
    try:
        train_model = trainer.train_function()
        with (
            open_trackers(settings.track, out=settings.out, settings=config) as tracker,
            phases() as shown,
        ):
            path = train_model(
                config,
                out=settings.out,
                resume=settings.resume,
                tensorboard=settings.tensorboard,
                on_progress=shown.advance,
                on_measured=shown.measured,
                **_tracker_for(train_model, name, tracker if settings.track else None),
            )
    except KeyboardInterrupt:
        if not (settings.out / "run.json").exists():
            raise
        return stopped("the same command with --resume")
    report = msgspec.json.decode((settings.out / "report.json").read_bytes())
    if settings.json:
        print_json({"model": str(path), **report})
        return ExitCode.DONE
    if settings.events:
        return ExitCode.DONE
    for key, value in report.items():
        print(f"{key.replace('_', ' ')}: {value}")
    print(f'model: {path}; play it: --policy \'{{"name": "transformers", "path": "{path}"}}\'')
    return ExitCode.DONE


def _tracker_for(
    train_model: Callable[..., Path], name: str, tracker: Tracker | None
) -> dict[str, Tracker]:
    """Return the tracker as an argument; trainers of users need not take one.

    Raises:
        ValueError: there is a tracker, and the trainer does not take it.
    """
    if tracker is None:
        return {}
    taken = parameters(train_model)
    if "tracker" not in taken and not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        raise ValueError(
            f"--track: the trainer {name!r} takes no tracker. Add the argument tracker=None to its "
            "function, and call tracker.log(step, figures) there"
        )
    return {"tracker": tracker}


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
