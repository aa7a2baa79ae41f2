"""Options of the simulated user and of the noise between it and the agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from agent_gym_env.suggestions import (
    argument_types,
    refuse_unknown,
    refuse_wrong_types,
    unknown_name,
)

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
USER_NAMES = ("agenda",)


class UserOptions(msgspec.Struct, frozen=True):
    """Behaviour of a user.

    Attributes:
        name: one of `USER_NAMES`.
        miss: share of the agent's turns that the user does not hear.
        volunteer: share of the answers in which the user adds wishes that were not asked for.
    """

    name: str = "agenda"
    miss: Share = 0.0
    volunteer: Share = 1.0

    def is_random(self) -> bool:
        """Return whether the user's answers depend on the seed."""
        return self.miss > 0 or self.volunteer < 1


class Noise(msgspec.Struct, frozen=True):
    """Shares of acts and values that the agent mishears.

    Attributes:
        acts: share of the user's acts that do not reach the agent.
        values: share of the user's values that reach the agent as another value of their slot.
    """

    acts: Share = 0.0
    values: Share = 0.0

    def is_random(self) -> bool:
        """Return whether the agent mishears anything."""
        return self.acts > 0 or self.values > 0


def read_user_options(config: str | Mapping[str, Any]) -> UserOptions:
    """Read the argument ``user`` of ``SGDSim-v0``.

    Args:
        config: a name of `USER_NAMES`, or a mapping with one and options.

    Raises:
        ValueError: the name or an option is not known, or a value is out of its range.
        TypeError: the argument is neither a name nor a mapping.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        raise TypeError(
            f"user must be a name or a mapping with a name and options, not {type(config).__name__}"
        )
    name = config.get("name")
    if name not in USER_NAMES:
        raise ValueError(unknown_name("user", name, USER_NAMES))
    return _read(f"user {name!r}", config, UserOptions)


def read_noise(config: Mapping[str, Any] | None) -> Noise:
    """Read the argument ``noise`` of ``SGDSim-v0``.

    Args:
        config: a mapping with ``acts`` and ``values``; ``None`` for none.

    Raises:
        ValueError: a key is not known, or a value is out of its range.
        TypeError: the argument is not a mapping.
    """
    if config is None:
        return Noise()
    if not isinstance(config, Mapping):
        raise TypeError(
            f"noise must be a mapping such as {{'acts': 0.1, 'values': 0.05}}, "
            f"not {type(config).__name__}"
        )
    return _read("noise", config, Noise)


_Options = TypeVar("_Options", UserOptions, Noise)


def _read(owner: str, config: Mapping[str, Any], kind: type[_Options]) -> _Options:
    refuse_unknown(owner, config, kind.__struct_fields__)
    refuse_wrong_types(owner, config, argument_types(kind))
    return kind(**config)
