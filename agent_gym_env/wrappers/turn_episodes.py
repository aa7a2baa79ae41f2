"""A turn as an episode, tried several times before the dialogue goes on."""

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
    """Ends the episode with each turn of the agent, and plays each turn several times.

    `reset` goes back to where the turn began until it has been tried ``tries`` times, then on to
    the next turn with what was done in the last try, and after the last turn to another dialogue.
    In a replayed dialogue little of what an agent says in one turn touches its reward in another,
    so that short episodes have less noise; and what is worked out for a situation, such as its
    candidates, serves several tries.

    What is lost: what an action does to later turns earns nothing.

    Args:
        env: ``SGD-v0``, or wrappers around it that leave observation and action alone and count
            nothing: a `TimeLimit` goes outside.
        tries: how often each turn is played.

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
        """Begin the turn again, or the next one; with a seed or options, another dialogue."""
        following, self._next = self._next, None
        if seed is not None or options:
            self._left, following = 0, None
        if self._left:
            self._left -= 1
            return self._bare("set_state")(self._begin)  # type: ignore[no-any-return]
        begun = following or self.env.reset(seed=seed, options=options)
        self._left = self.tries - 1
        # Without the generator's state: nothing is drawn within a turn.
        self._begin = {**self._bare("get_state")(), "random": ""} if self._left else {}
        return begun

    def step(self, action: Any) -> tuple[Texts, float, bool, bool, Info]:
        """Take an action; the episode ends where it closes the turn."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        is_closed = info["target"] is not None
        over = terminated or truncated
        self._next = None if over or not is_closed else (observation, info)
        return observation, float(reward), terminated or is_closed, truncated, info

    def get_state(self) -> Info:
        """Take the state of the environment and of the tries, as JSON-able values."""
        return {
            "env": self._bare("get_state")(),
            "begin": self._begin,
            "left": self._left,
        }

    def set_state(self, state: Mapping[str, Any]) -> tuple[Texts, Info]:
        """Return to a state of an episode that was under way, as `SGDEnv.set_state`.

        Raises:
            ValueError: the value is no such state.
        """
        left, begin = state["left"], state["begin"]
        if not isinstance(left, int) or left < 0:
            raise ValueError(f"this is no state of TurnEpisodes: {left!r} tries are left")
        if left:
            self._bare("set_state")(begin)  # Says now, and not at a reset, if it is none.
        self._left, self._begin, self._next = left, dict(begin), None
        return self._bare("set_state")(state["env"])  # type: ignore[no-any-return]

    def _bare(self, method: str) -> Any:
        return getattr(self.unwrapped, method)
