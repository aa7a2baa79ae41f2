"""Actions as choices among a few candidates, for libraries whose actions are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agent_gym_env.encoders.candidates import Candidate, CandidateSource
from agent_gym_env.types import Action, Observation
from agent_gym_env.wrappers.checks import (
    require_conversation,
    require_positive,
    require_text_and_calls,
)
from agent_gym_env.wrappers.observation_cache import ObservationCache

Info = dict[str, Any]
Texts = dict[str, str]


class CandidateAction(gym.Wrapper[Texts, Any, Texts, Any], gym.utils.RecordConstructorArgs):
    """Transforms the action into a choice among ``k`` candidates: well-formed calls and replies.

    ``info["action_mask"]`` (int8, shape ``(k,)``, for `gymnasium.spaces.Discrete.sample`) and
    `action_masks` (booleans, for sb3-contrib) mark the numbers that have a candidate. A number
    without a candidate is an empty reply. The observation does not change (see
    `EncodeObservation`).

    Actions that are lost: everything that is not a candidate. The reward of the best candidate in
    hindsight is the upper bound of what a policy can earn through this wrapper.

    Args:
        env: ``SGD-v0``, or wrappers around it that do not change observation and action.
        source: proposes actions from the observation alone.
        k: largest number of candidates.

    Attributes:
        candidates: candidates for the current observation, the best first.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> from agent_gym_env.assembly import make_candidates
        >>> env = gym.make("SGD-v0")
        >>> source = make_candidates(env, training_dialogues=80, indexed=80)
        >>> env = CandidateAction(env, source, k=8)
        >>> observation, info = env.reset(seed=0)
        >>> info["action_mask"].shape, env.action_space
        ((8,), Discrete(8))
        >>> observation, reward, *_ = env.step(0)
    """

    def __init__(self, env: gym.Env[Texts, Any], source: CandidateSource, k: int = 16) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, source=source, k=k)
        gym.Wrapper.__init__(self, env)
        require_conversation(env, "CandidateAction")
        require_text_and_calls(env, "CandidateAction")
        require_positive("k", k)
        self.action_space = spaces.Discrete(k)
        self.k = k
        self.candidates: Sequence[Candidate] = ()
        self._candidates_for = ObservationCache(lambda seen: tuple(source.candidates(seen, k))[:k])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Texts, Info]:
        """Begin a dialogue, as `SGDEnv.reset` does."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.propose(observation)
        return observation, self._with_mask(info)

    def step(self, action: Any) -> tuple[Texts, float, bool, bool, Info]:
        """Take the candidate with a number.

        Raises:
            ValueError: the number is not in the action space.
        """
        observation, reward, terminated, truncated, info = self.env.step(self.chosen(action))
        if terminated:
            self.candidates = ()
        else:
            self.propose(observation)
        return observation, float(reward), terminated, truncated, self._with_mask(info)

    def chosen(self, action: Any) -> Action:
        """Return the action of a number; an empty reply if it has no candidate.

        Raises:
            ValueError: the number is not in the action space.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"the action is a number from 0 to {self.k - 1}, not {action!r}")
        index = int(action)
        return self.candidates[index].action if index < len(self.candidates) else Action()

    def propose(self, observation: Observation) -> None:
        """Update ``candidates`` for an observation that neither `reset` nor `step` returned.

        `SGDEnv.set_state` returns such an observation when it restores a state.
        """
        self.candidates = self._candidates_for(observation)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which numbers have a candidate.

        Returns:
            Booleans, shape ``(k,)``.
        """
        return np.arange(self.k) < len(self.candidates)

    def _with_mask(self, info: Info) -> Info:
        return {**info, "action_mask": self.action_masks().astype(np.int8)}
