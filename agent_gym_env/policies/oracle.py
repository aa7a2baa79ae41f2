"""The policy that does what the corpus did: the upper bound, and the teacher."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from agent_gym_env.types import Action, Observation


@runtime_checkable
class Teacher(Protocol):
    """What knows the recorded answer of the open turn; the bare environment does."""

    def recorded_action(self) -> Action:
        """Give what the corpus does in the open turn: its call, if any, and its reply."""


class HasUnwrapped(Protocol):
    """An environment, with or without wrappers around it."""

    @property
    def unwrapped(self) -> object:
        """The bare environment."""


class OraclePolicy:
    """Plays the recorded call alone, then, when its result is there, the recorded reply.

    It asks the environment that is being played for the answer, which no other policy may.

    Args:
        env: the environment to be played; its bare environment is a `Teacher`.
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
        """Begin an episode; nothing is drawn."""

    def act(self, observation: Observation) -> Action:
        """Do what the corpus did."""
        recorded = self._teacher.recorded_action()
        if recorded.tool_calls and not observation["tool_result"]:
            return Action(tool_calls=recorded.tool_calls)
        return Action(text=recorded.text)
