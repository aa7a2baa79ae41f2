"""Strings as bytes in arrays of a fixed length, for libraries that take numbers only."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from agent_gym_env.wrappers.checks import require_positive, require_string

Tokens = NDArray[np.int64]

VOCABULARY = 257
"""Token 0 is the end, token ``b + 1`` the byte ``b`` of a text's UTF-8."""


class ByteObservation(gym.ObservationWrapper[Tokens, Any, str], RecordConstructorArgs):
    r"""Shows the end of a prompt as bytes.

    What is lost: all but the last ``length`` bytes, and so for most dialogues the tools on offer,
    which stand first. A character that the cut goes through is left with its last bytes.

    Args:
        env: an environment whose observation is one string, as `TextObservation` makes it.
        length: of the array; a shorter prompt has zeros in front.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> from agent_gym_env.wrappers.text_observation import TextObservation
        >>> env = ByteObservation(TextObservation(gym.make("SGD-v0")), length=512)
        >>> tokens, info = env.reset(seed=0)
        >>> tokens.shape, text_of(tokens)[-22:]
        ((512,), '<|im_start|>assistant\n')
    """

    def __init__(self, env: gym.Env[str, Any], length: int = 2048) -> None:
        RecordConstructorArgs.__init__(self, length=length)
        gym.ObservationWrapper.__init__(self, env)
        require_string(env.observation_space, "ByteObservation", "TextObservation")
        require_positive("length", length)
        self.length = length
        self.observation_space = spaces.Box(0, VOCABULARY - 1, (length,), np.int64)

    def observation(self, observation: str) -> Tokens:
        """Keep the last bytes, with zeros in front."""
        encoded = np.frombuffer(observation.encode()[-self.length :], np.uint8)
        tokens = np.zeros(self.length, np.int64)
        tokens[self.length - len(encoded) :] = encoded.astype(np.int64) + 1
        return tokens


class ByteAction(gym.ActionWrapper[Any, Tokens, str], RecordConstructorArgs):
    """Takes a completion as bytes up to the first 0.

    What is lost: completions of more than ``length`` bytes cannot be given; bytes that are no UTF-8
    become U+FFFD. Every token is chosen before any is seen, so that few libraries learn much here:
    `CandidateAction` is the view to train with.

    Args:
        env: an environment whose action is one string, as `TextAction` makes it.
        length: of the array.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> from agent_gym_env.wrappers.text_action import TextAction
        >>> env = ByteAction(TextAction(gym.make("SGD-v0")), length=32)
        >>> observation, info = env.reset(seed=0)
        >>> observation, *_ = env.step(tokens_of("Which city?", 32))
    """

    def __init__(self, env: gym.Env[Any, str], length: int = 256) -> None:
        RecordConstructorArgs.__init__(self, length=length)
        gym.ActionWrapper.__init__(self, env)
        require_string(env.action_space, "ByteAction", "TextAction")
        require_positive("length", length)
        self.length = length
        self.action_space = spaces.MultiDiscrete(np.full(length, VOCABULARY))

    def action(self, action: Tokens) -> str:
        """Read the completion.

        Raises:
            ValueError: the array is not in the action space.
        """
        if not self.action_space.contains(action):
            raise ValueError(
                f"the action is {self.length} numbers from 0 to {VOCABULARY - 1}, not {action!r}"
            )
        return text_of(action)


def tokens_of(text: str, length: int) -> Tokens:
    """Write a completion as an action of `ByteAction`.

    Raises:
        ValueError: it has more bytes than ``length``.
    """
    encoded = text.encode()
    if len(encoded) > length:
        raise ValueError(f"the text has {len(encoded)} bytes, at most {length} fit")
    tokens = np.zeros(length, np.int64)
    tokens[: len(encoded)] = np.frombuffer(encoded, np.uint8).astype(np.int64) + 1
    return tokens


def text_of(tokens: Tokens) -> str:
    """Read tokens up to the first 0."""
    values = np.asarray(tokens)
    ends = np.flatnonzero(values == 0)
    kept = values[: ends[0]] if len(ends) else values
    return (kept - 1).astype(np.uint8).tobytes().decode("utf-8", "replace")
