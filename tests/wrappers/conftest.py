"""Environments over the tiny corpus for the tests of wrappers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

Make = Callable[..., gym.Env[Any, Any]]


@pytest.fixture
def make(tiny_corpus: Path) -> Make:
    """Make ``SGD-v0`` over the tiny corpus."""

    def make(**arguments: Any) -> gym.Env[Any, Any]:
        return gym.make("agent_gym_env:SGD-v0", corpus=str(tiny_corpus), **arguments)

    return make
