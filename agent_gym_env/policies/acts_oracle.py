"""A policy that hears the simulated user's acts and knows nothing of the goal.

It shows that a dialogue can be solved. The environment tells it the user's acts, which no other
policy may ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from agent_gym_env.policies.agent_wording import Speaker, Wording
from agent_gym_env.policies.dialogue_plan import Act, DialoguePlan, Steps, Tool
from agent_gym_env.policies.oracle import HasUnwrapped
from agent_gym_env.types import Action, Observation


@runtime_checkable
class ActsTeacher(Protocol):
    """An environment that tells the user's acts."""

    def user_acts(self) -> Sequence[Act]:
        """Return the acts of the user's last turn."""

    def tool_schemas(self) -> Mapping[str, Tool]:
        """Return the tools on offer, by full name."""


class ActsOraclePolicy:
    """Solves simulated dialogues from the user's acts.

    Args:
        env: the environment to be played; its bare environment is an `ActsTeacher`.
        wording: style of the policy's words (``terse``, ``plain``, ``verbose`` or
            ``descriptive``), or a function that puts acts into words. When the user has not
            understood, the policy says the same in the next style, or calls the function again.

    Raises:
        TypeError: the environment has no simulated user.
        ValueError: the style is unknown.
    """

    name = "acts-oracle"
    needs_beginning = True

    def __init__(self, env: HasUnwrapped, *, wording: str | Wording = "plain") -> None:
        teacher = env.unwrapped
        if not isinstance(teacher, ActsTeacher):
            raise TypeError(
                "the acts oracle needs an environment with a simulated user, SGDSim-v0; "
                f"{type(teacher).__name__} does not tell the user's acts"
            )
        self._teacher = teacher
        self._wording = wording
        Speaker(wording)  # refuses an unknown style
        self._play: Steps | None = None

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._play = None

    def act(self, observation: Observation) -> Action:
        """Take the next step of the dialogue."""
        if self._play is None:
            tools, listener = self._teacher.tool_schemas(), _Listener(self._teacher)
            self._play = DialoguePlan(tools, listener, Speaker(self._wording)).play()
            return next(self._play)
        return self._play.send(observation)


class _Listener:
    """Is told the user's acts."""

    def __init__(self, teacher: ActsTeacher) -> None:
        self._teacher = teacher

    def acts(self) -> Sequence[Act]:
        return self._teacher.user_acts()

    def asked(self, row: Mapping[str, str]) -> list[str]:
        return [act.slot for act in self._teacher.user_acts() if act.act == "REQUEST"]
