"""Registration of the environments with Gymnasium.

Importing Gymnasium takes several times as long as importing this package. So the package does not
import it: the environments are registered as soon as anything imports Gymnasium. The command line
prints its help and completes words without it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def register_environments() -> None:
    """Register ``SGD-v0``, ``Traces-v0`` and ``SGDSim-v0``: now, or when Gymnasium is imported."""
    if "gymnasium" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _GymnasiumFinder())


def _register() -> None:
    from gymnasium.envs.registration import register, registry

    for name in ("SGD-v0", "Traces-v0"):
        if name not in registry:
            register(
                id=name,
                entry_point="agent_gym_env.envs.dialogue:SGDEnv",
                vector_entry_point="agent_gym_env.envs.vector:SGDVectorEnv",
                # The environment checks the order of calls itself, and its tests run the checker.
                order_enforce=False,
                disable_env_checker=True,
            )
    if "SGDSim-v0" not in registry:
        register(
            id="SGDSim-v0",
            entry_point="agent_gym_env.envs.sgd_sim:SGDSimEnv",
            vector_entry_point="agent_gym_env.envs.vector:SGDSimVectorEnv",
            order_enforce=False,
            disable_env_checker=True,
        )


class _GymnasiumFinder(MetaPathFinder):
    """Finds Gymnasium as Python does, and registers the environments after its first import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of Gymnasium; ``None`` for all other modules."""
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        try:
            spec = find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                _register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
