"""Observations as vectors of numbers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from agent_gym_env.encoders.candidates import CandidateEncoder
from agent_gym_env.encoders.conversation import ConversationEncoder, Vector
from agent_gym_env.encoders.text import Encoder
from agent_gym_env.types import Observation
from agent_gym_env.wrappers.checks import require_conversation
from agent_gym_env.wrappers.observation_cache import ObservationCache


class EncodeObservation(
    gym.ObservationWrapper[Vector, Any, dict[str, str]], gym.utils.RecordConstructorArgs
):
    """Transforms the observation into one float32 vector of numbers in [-1, 1].

    The vector has three parts:

    - encoded texts: the user's last words, the agent's last words and questions, the arguments and
      offered values so far, the last result, the tools (`agent_gym_env.encoders.conversation`);
    - facts, such as the status of the last result;
    - around `CandidateAction`, a row for each candidate (`agent_gym_env.encoders.candidates`).

    Information that is lost: the order of words beyond the encoder's n-grams, and the exact words
    of all but the last user turn and the last result.

    Args:
        env: ``SGD-v0``, with or without `CandidateAction` around it.
        encoder: encoder of texts; by default a `HashingEncoder`. Environments that share a
            `CachedEncoder` encode each text once.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = EncodeObservation(gym.make("SGD-v0"))
        >>> vector, info = env.reset(seed=0)
        >>> vector.dtype, vector.shape == env.observation_space.shape
        (dtype('float32'), True)
    """

    def __init__(self, env: gym.Env[Any, Any], encoder: Encoder | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, encoder=encoder)
        gym.ObservationWrapper.__init__(self, env)
        require_conversation(env, "EncodeObservation")
        self._conversation = ConversationEncoder(encoder)
        size = self._conversation.dim
        self._rows: CandidateEncoder | None = None
        self._vector_for = ObservationCache(self._encode)
        if env.has_wrapper_attr("candidates"):
            k = env.get_wrapper_attr("k")
            self._rows = CandidateEncoder(self._conversation.encoder, k)
            size += k * self._rows.width
        self.observation_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self._nothing = np.zeros(size, np.float32)

    def step(self, action: Any) -> tuple[Vector, Any, bool, bool, dict[str, Any]]:
        """Take an action. At the end of the episode the vector is zero."""
        seen: Any
        seen, reward, terminated, truncated, info = self.env.step(action)
        vector = self._nothing.copy() if terminated else self.observation(seen)
        return vector, reward, terminated, truncated, info

    def observation(self, observation: Observation) -> Vector:
        """Return the encoded conversation, and the encoded candidates if there are any."""
        vector: Vector = self._vector_for(observation).copy()
        return vector

    def _encode(self, observation: Observation) -> Vector:
        encoded = self._conversation.encode(observation)
        if self._rows is None:
            return encoded
        candidates = self.env.get_wrapper_attr("candidates")
        rows = self._rows.encode(self._conversation.state, candidates)
        return np.concatenate((encoded, rows.ravel()))
