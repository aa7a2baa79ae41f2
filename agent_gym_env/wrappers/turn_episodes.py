"""Turns as episodes, each played several times before the dialogue continues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from agent_gym_env.wrappers.checks import (
    refuse_time_limit,
    require_conversation,
    require_positive,
    require_text_and_calls,
)

Texts = dict[str, str]
Info = dict[str, Any]


class TurnEpisodes(gym.Wrapper[Texts, Any, Texts, Any], RecordConstructorArgs):
    """Ends the episode after each turn of the agent, and plays each turn several times.

    `reset` returns to the beginning of the turn until it was played ``tries`` times. Then it
    continues with the next turn after the last try, and after the last turn with another dialogue.

    In a replayed dialogue the words of one turn hardly affect the rewards of others, so short
    episodes have returns with less noise. What is computed once for a situation, such as its
    candidates, serves all tries.

    Rewards that are lost: the effects of an action on later turns.

    Args:
        env: ``SGD-v0``, or wrappers around it that do not change observation and action and do not
            count steps: put a `TimeLimit` around this wrapper.
        tries: number of times that each turn is played.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = TurnEpisodes(gym.make("SGD-v0"), tries=2)
        >>> first, info = env.reset(seed=0)
        >>> observation, reward, terminated, *_ = env.step("Hello.")
        >>> again, info = env.reset()
        >>> terminated, again == first
        (True, True)
    """

    def __init__(self, env: gym.Env[Texts, Any], tries: int = 4) -> None:
        RecordConstructorArgs.__init__(self, tries=tries)
        gym.Wrapper.__init__(self, env)
        require_conversation(env, "TurnEpisodes")
        require_text_and_calls(env, "TurnEpisodes")
        refuse_time_limit(env, "TurnEpisodes")
        require_positive("tries", tries)
        self.tries = tries
        self._left = 0
        self._begin: Info = {}
        self._next: tuple[Texts, Info] | None = None

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Texts, Info]:
        """Begin the turn again, or the next turn; with a seed or options, another dialogue."""
        following, self._next = self._next, None
        if seed is not None or options:
            self._left, following = 0, None
        if self._left:
            self._left -= 1
            return self._bare("set_state")(self._begin)  # type: ignore[no-any-return]
        begun = following or self.env.reset(seed=seed, options=options)
        self._left = self.tries - 1
        # The state of the generator is left out: nothing is random within a turn.
        self._begin = {**self._bare("get_state")(), "random": ""} if self._left else {}
        return begun

    def step(self, action: Any) -> tuple[Texts, float, bool, bool, Info]:
        """Take an action. The episode ends if the action closes the turn."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        is_closed = info["target"] is not None
        over = terminated or truncated
        self._next = None if over or not is_closed else (observation, info)
        return observation, float(reward), terminated or is_closed, truncated, info

    def get_state(self) -> Info:
        """Return the state of the environment and the number of tries left, as JSON values."""
        return {
            "env": self._bare("get_state")(),
            "begin": self._begin,
            "left": self._left,
        }

    def set_state(self, state: Mapping[str, Any]) -> tuple[Texts, Info]:
        """Restore a state in the middle of an episode, as `SGDEnv.set_state` does.

        Raises:
            ValueError: the value is not a state of this wrapper.
        """
        left, begin = state["left"], state["begin"]
        if not isinstance(left, int) or left < 0:
            raise ValueError(f"not a TurnEpisodes state: its number of tries left is {left!r}")
        if left:
            self._bare("set_state")(begin)  # Raises now, not at a reset, if it is not a state.
        self._left, self._begin, self._next = left, dict(begin), None
        return self._bare("set_state")(state["env"])  # type: ignore[no-any-return]

    def _bare(self, method: str) -> Any:
        return getattr(self.unwrapped, method)
