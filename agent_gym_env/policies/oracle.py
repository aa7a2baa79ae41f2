"""The policy that repeats what the corpus recorded: an upper bound and a teacher."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from agent_gym_env.types import Action, Observation


@runtime_checkable
class Teacher(Protocol):
    """An environment that knows the recorded answer of the open turn."""

    def recorded_action(self) -> Action:
        """Return the recorded action of the open turn: its calls, if any, and its reply.

        In a turn with several rounds of calls it is the next round, without words, or the reply.
        """


class HasUnwrapped(Protocol):
    """An environment, with or without wrappers around it."""

    @property
    def unwrapped(self) -> object:
        """The unwrapped environment."""


class OraclePolicy:
    """Makes the recorded calls, and after their results says the recorded reply.

    It asks the environment for the answer, which no other policy may do.

    Args:
        env: environment to be played, whose unwrapped environment is a `Teacher`.

    Raises:
        TypeError: the environment has no ``recorded_action()``.
    """

    name = "oracle"

    def __init__(self, env: HasUnwrapped) -> None:
        teacher = env.unwrapped
        if not isinstance(teacher, Teacher):
            raise TypeError(
                "the oracle needs an environment that knows what the corpus did, with a method "
                f"recorded_action(); {type(teacher).__name__} has none"
            )
        self._teacher = teacher

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""

    def act(self, observation: Observation) -> Action:
        """Return the recorded calls or reply."""
        recorded = self._teacher.recorded_action()
        if recorded.tool_calls and not (recorded.text and observation["tool_result"]):
            return Action(tool_calls=recorded.tool_calls)
        return Action(text=recorded.text)
