"""The trainers of language models, by name.

A trainer is a struct of settings and a function. Both are named as ``module:Name``, so that the
libraries of a trainer are imported when it is used and not before. To add one of your own, make a
`Trainer` and name it ``"package.module:NAME"``, or register it with
`agent_gym_env.register_trainer`.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, cast

import msgspec

from agent_gym_env.training.config import OnMeasured, OnProgress


class TrainFunction(Protocol):
    """Signature of a function that trains a model.

    It writes ``run.json`` and ``report.json`` to its folder, and returns the folder of the trained
    model.
    """

    def __call__(
        self,
        config: Any,
        *,
        out: Path,
        resume: bool = False,
        tensorboard: bool = False,
        on_progress: OnProgress | None = None,
        on_measured: OnMeasured | None = None,
    ) -> Path:
        """Train; see `agent_gym_env.training.trl_run.run_trainer` for the arguments."""


class Trainer(msgspec.Struct, frozen=True):
    """A trainer of language models.

    Attributes:
        help: what it does, in one line.
        config: ``module:Name`` of the struct of its settings; best a subclass of
            `agent_gym_env.training.config.TrainingConfig`.
        train: ``module:name`` of its `TrainFunction`.
    """

    help: str
    config: str
    train: str

    def config_class(self) -> type[msgspec.Struct]:
        """Import the struct of the settings."""
        return cast("type[msgspec.Struct]", resolve_name(self.config))

    def train_function(self) -> TrainFunction:
        """Import the function that trains.

        Raises:
            MissingDependency: a library that the trainer needs is not installed.
        """
        return cast(TrainFunction, resolve_name(self.train))


SFT = Trainer(
    help="imitate recorded conversations, with TRL",
    config="agent_gym_env.training.config:SFTConfig",
    train="agent_gym_env.training.sft:train_sft",
)
DPO = Trainer(
    help="prefer the better message of each pair, with TRL",
    config="agent_gym_env.training.config:DPOConfig",
    train="agent_gym_env.training.dpo:train_dpo",
)
KTO = Trainer(
    help="learn from messages that are labelled good or bad, with TRL",
    config="agent_gym_env.training.config:KTOConfig",
    train="agent_gym_env.training.kto:train_kto",
)
GRPO = Trainer(
    help="play the environment and learn from its reward, with TRL",
    config="agent_gym_env.training.config:GRPOConfig",
    train="agent_gym_env.training.grpo:train_grpo",
)
