"""The spaces of a conversation: flat dictionaries of Unicode text."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from gymnasium import spaces
from gymnasium.error import CustomSpaceError
from gymnasium.spaces.utils import flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import create_shared_memory

MAX_TEXT_LENGTH = 64 * 1024
"""Largest length of an action's text, and of its tool calls; longer ones are cut or refused."""

MAX_OBSERVATION_LENGTH = 2**28
"""Largest length of an observation's text: all actions of an episode fit, escaped as JSON."""

_SAMPLE_LENGTH = 64
_SAMPLE_CHARSET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,?!'-:"


class FreeText(spaces.Text):
    """Any Unicode string up to a length, the empty one included.

    Gymnasium's own `Text` has a table of its characters, which for all of Unicode takes seconds
    to build and megabytes to pickle. Lone surrogates are not members, since UTF-8 cannot encode
    them.

    Args:
        max_length: largest length in characters, inclusive.
        seed: seed for sampling; samples are short ASCII texts.

    Examples:
        >>> FreeText(8).contains("Grüße")
        True
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=_SAMPLE_CHARSET, seed=seed)

    def contains(self, x: Any) -> bool:
        """Return whether a value is a member."""
        return isinstance(x, str) and len(x) <= self.max_length and is_unicode(x)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Draw a short text; masks are as in `gymnasium.spaces.Text`."""
        if mask is not None or probability is not None:
            return super().sample(mask, probability)
        length = int(self.np_random.integers(min(_SAMPLE_LENGTH, self.max_length) + 1))
        places = self.np_random.integers(len(_SAMPLE_CHARSET), size=length)
        return "".join(_SAMPLE_CHARSET[place] for place in places)

    @property
    def is_np_flattenable(self) -> bool:
        """Text of free length has no fixed number of elements."""
        return False

    def __repr__(self) -> str:
        return f"FreeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]  # as every space


def is_unicode(text: str) -> bool:
    """Return whether a string can be written as UTF-8; lone surrogates cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_flattening(space: FreeText, *_: Any) -> NoReturn:
    """Refuse to flatten text: Gymnasium would make a number of each possible character."""
    raise CustomSpaceError(
        f"{space} has no fixed size and cannot be flattened: use "
        "agent_gym_env.wrappers.EncodeObservation to see the conversation as numbers"
    )


for _flattening in (flatdim, flatten, flatten_space, unflatten):
    _flattening.register(FreeText, _refuse_flattening)


@create_shared_memory.register(FreeText)
def _refuse_shared_memory(space: FreeText, n: int = 1, ctx: Any = None) -> NoReturn:
    """Refuse shared memory, in which Gymnasium blanks texts without an error.

    Source: `AsyncVectorEnv` reads a Text buffer once, when it is constructed (Gymnasium 1.0 to
        1.4).
    """
    raise CustomSpaceError(
        f"{space} cannot be shared between processes: pass shared_memory=False to "
        "AsyncVectorEnv, or vector_kwargs={'shared_memory': False} to gym.make_vec, or use "
        "gym.make_vec's default"
    )


def observation_space() -> spaces.Dict:
    """Build the observation space: user's words, tool results, conversation and tools."""
    leaves = ("user", "tool_result", "messages", "tools")
    return spaces.Dict({leaf: FreeText(MAX_OBSERVATION_LENGTH) for leaf in leaves})


def action_space() -> spaces.Dict:
    """Build the action space: words for the user, and tool calls as a JSON list."""
    return spaces.Dict({leaf: FreeText(MAX_TEXT_LENGTH) for leaf in ("text", "tool_calls")})
