"""The examples in the docstrings run as written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import agent_gym_env.encoders
import agent_gym_env.testing
import agent_gym_env.wrappers

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (agent_gym_env.wrappers, agent_gym_env.encoders, agent_gym_env.testing)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_written(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_wrapper_has_an_example() -> None:
    wrappers = {
        value
        for name in MODULES
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and value.__module__.startswith("agent_gym_env.wrappers")
        and hasattr(value, "unwrapped")
    }  # fmt: skip
    assert {wrapper.__name__ for wrapper in wrappers} == set(agent_gym_env.wrappers.__all__)
    assert all(">>>" in (wrapper.__doc__ or "") for wrapper in wrappers)
