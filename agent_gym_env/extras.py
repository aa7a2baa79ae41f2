"""Imports of optional libraries, with the exact pip line when one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from agent_gym_env.errors import MissingDependency


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: dotted name, for example ``"stable_baselines3"``.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingDependency: the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependency(
            f"{module} is not installed. It comes with: pip install 'agent-gym-env[{extra}]'",
            name=module,
        ) from error
