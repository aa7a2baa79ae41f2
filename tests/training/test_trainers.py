from __future__ import annotations

import inspect

import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

from agent_gym_env.registry import TRAINERS
from agent_gym_env.training.config import TrainingConfig
from agent_gym_env.training.trl_run import RunOptions


@pytest.mark.parametrize("name", TRAINERS.names())
def test_a_trainer_has_settings_and_a_function_that_takes_them(name: str) -> None:
    settings = TRAINERS.find(name).config_class()
    assert issubclass(settings, TrainingConfig)
    train = TRAINERS.find(name).train_function()
    assert list(inspect.signature(train).parameters) == ["config", "out", "options"]
    assert train.__annotations__["config"] == settings.__name__
    assert train.__annotations__["options"] == f"Unpack[{RunOptions.__name__}]"
