"""Actions as twenty dialogue acts and calls, and observations as features, for RL libraries."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agent_gym_env.types import Action, Observation
from agent_gym_env.wrappers.checks import require_conversation, require_text_and_calls

Info = dict[str, Any]
Texts = dict[str, str]


class ActSource(Protocol):
    """Follows a dialogue, and turns numbers into actions; see `policies.act_choices.ActChoices`."""

    def reset(self) -> None:
        """Begin a dialogue."""

    def observe(self, observation: Observation) -> None:
        """Take in an observation."""

    def mask(self) -> NDArray[np.bool_]:
        """Return which numbers are possible."""

    def features(self) -> NDArray[np.float32]:
        """Return the state of the dialogue as numbers in [0, 1]."""

    def take(self, number: int) -> Action:
        """Return the action of a possible number."""


class ActAction(gym.Wrapper[Texts, Any, Texts, Any], gym.utils.RecordConstructorArgs):
    """Transforms the action into one of twenty dialogue acts and calls.

    ``info["action_mask"]`` (int8, shape ``(20,)``, for `gymnasium.spaces.Discrete.sample`) and
    `action_masks` (booleans, for sb3-contrib) mark the numbers that are possible. A number that is
    not possible is an empty reply. The observation does not change (see `ActObservation`).

    Actions that are lost: calls with other arguments than those that the user said, and texts that
    do two things at once.

    Args:
        env: ``SGDSim-v0`` or ``SGD-v0``, or wrappers around it that do not change observation and
            action.
        source: follows the dialogue; best made by `agent_gym_env.assembly.make_act_choices`.

    Attributes:
        source: the same.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> from agent_gym_env.assembly import make_act_choices
        >>> env = gym.make("SGDSim-v0", understanding="acts")
        >>> env = ActAction(env, make_act_choices(env, hears="acts"))
        >>> observation, info = env.reset(seed=0)
        >>> info["action_mask"].shape, env.action_space
        ((20,), Discrete(20))
        >>> observation, reward, *_ = env.step(18)
    """

    def __init__(self, env: gym.Env[Texts, Any], source: ActSource) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, source=source)
        gym.Wrapper.__init__(self, env)
        require_conversation(env, "ActAction")
        require_text_and_calls(env, "ActAction")
        self.source = source
        self._mask = source.mask()
        self.action_space = spaces.Discrete(len(self._mask))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Texts, Info]:
        """Begin a dialogue."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.source.reset()
        return observation, self._observed(observation, info)

    def step(self, action: Any) -> tuple[Texts, float, bool, bool, Info]:
        """Take the action of a number.

        Raises:
            ValueError: the number is not in the action space.
        """
        if not self.action_space.contains(action):
            raise ValueError(
                f"the action is a number from 0 to {len(self._mask) - 1}, not {action!r}"
            )
        number = int(action)
        taken = self.source.take(number) if self._mask[number] else Action()
        observation, reward, terminated, truncated, info = self.env.step(taken)
        if terminated:
            self._mask = np.zeros_like(self._mask)
            return observation, float(reward), True, truncated, self._with_mask(info)
        return observation, float(reward), False, truncated, self._observed(observation, info)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which numbers are possible.

        Returns:
            Booleans, shape ``(20,)``; all false at the end of an episode.
        """
        return self._mask

    def _observed(self, observation: Observation, info: Info) -> Info:
        self.source.observe(observation)
        self._mask = self.source.mask()
        return self._with_mask(info)

    def _with_mask(self, info: Info) -> Info:
        return {**info, "action_mask": self._mask.astype(np.int8)}


class ActObservation(
    gym.ObservationWrapper[NDArray[np.float32], Any, Texts], gym.utils.RecordConstructorArgs
):
    """Transforms the observation into the features of `ActAction`'s source, numbers in [0, 1].

    Information that is lost: all words, names and values. What is left is what matters for the
    next act: how many slots are missing, how many rows are left, what the user's last acts were.

    Args:
        env: `ActAction`, or wrappers around it.

    Raises:
        TypeError: there is no `ActAction` inside.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> from agent_gym_env.assembly import make_act_choices
        >>> env = gym.make("SGDSim-v0", understanding="acts")
        >>> env = ActObservation(ActAction(env, make_act_choices(env, hears="acts")))
        >>> features, info = env.reset(seed=0)
        >>> features.dtype, features.shape == env.observation_space.shape
        (dtype('float32'), True)
    """

    def __init__(self, env: gym.Env[Texts, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        if not env.has_wrapper_attr("source"):
            raise TypeError("ActObservation wraps an ActAction: put ActAction around the env first")
        self._source: ActSource = env.get_wrapper_attr("source")
        size = len(self._source.features())
        self.observation_space = spaces.Box(0.0, 1.0, (size,), np.float32)

    def observation(self, observation: Texts) -> NDArray[np.float32]:
        """Return the features of the dialogue as it is now."""
        return self._source.features()
