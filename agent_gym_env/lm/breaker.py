"""The switch that stops a run whose key the provider keeps refusing."""

from __future__ import annotations

from agent_gym_env.errors import CircuitOpenError

REFUSALS = 10
"""In a row, before the switch opens."""


class KeyBreaker:
    """Counts refused keys in a row; opens at `REFUSALS` and stays open.

    Args:
        name: the model, for the message.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._refusals = 0

    def check(self) -> None:
        """Let a request pass.

        Raises:
            CircuitOpenError: the key has been refused too often.
        """
        if self._refusals >= REFUSALS:
            raise CircuitOpenError(
                f"{self._name} refused the key {self._refusals} times in a row; check the key, its "
                "environment variable and the provider's permissions, then start again"
            )

    def record(self, *, refused: bool) -> None:
        """Note one outcome: whether the key was refused."""
        self._refusals = self._refusals + 1 if refused else 0
