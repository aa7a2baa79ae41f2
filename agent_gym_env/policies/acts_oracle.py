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
        self._user = ToldActs(env)
        self._wording = wording
        Speaker(wording)  # refuses an unknown style
        self._play: Steps | None = None

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._play = None

    def act(self, observation: Observation) -> Action:
        """Take the next step of the dialogue."""
        if self._play is None:
            plan = DialoguePlan(self._user.tools(), self._user, Speaker(self._wording))
            self._play = plan.play()
            return next(self._play)
        return self._play.send(observation)


class ToldActs:
    """Hears the user's acts from the environment.

    Args:
        env: the environment to be played; its bare environment is an `ActsTeacher`.

    Raises:
        TypeError: the environment has no simulated user.
    """

    def __init__(self, env: HasUnwrapped) -> None:
        teacher = env.unwrapped
        if not isinstance(teacher, ActsTeacher):
            raise TypeError(
                "the user's acts are told by an environment with a simulated user, SGDSim-v0; "
                f"{type(teacher).__name__} does not tell them"
            )
        self._teacher = teacher

    def begin(self, agent: object) -> None:
        """Begin a dialogue."""

    def hear(self, observation: Observation) -> ToldActs | None:
        """Return this listener if the user has spoken; ``None`` while the turn is open."""
        return self if observation["user"] else None

    def tools(self) -> Mapping[str, Tool]:
        """Return the tools on offer, by full name."""
        return self._teacher.tool_schemas()

    def acts(self) -> Sequence[Act]:
        """Return the acts of the user's last turn."""
        return self._teacher.user_acts()

    def asked(self, row: Mapping[str, str]) -> list[str]:
        """Return the slots that the user asks about."""
        return [act.slot for act in self._teacher.user_acts() if act.act == "REQUEST"]
