"""Options of the simulated user and of the noise between it and the agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.registry import USERS, option_names
from agent_gym_env.suggestions import argument_types, refuse_unknown, refuse_wrong_types
from agent_gym_env.users.wording import UserWording

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class UserOptions(msgspec.Struct, frozen=True):
    """Behaviour of a user.

    Attributes:
        name: name of the user.
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


def make_user(
    config: str | Mapping[str, Any] | UserWording, split: Split, corpus: Corpus
) -> tuple[UserOptions, UserWording]:
    """Read the argument ``user`` of ``SGDSim-v0``, and make the object that finds its words.

    Args:
        config: a name, ``{"name": …, **options}`` with the options of `UserOptions` and those of
            the user itself, or an object.
        split: the split that is played.
        corpus: its corpus.

    Raises:
        ValueError: the name or an option is not known, or a value is out of its range.
        TypeError: the argument is neither a name nor a mapping nor such an object.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return UserOptions(name=type(config).__name__), checked_user(config)
    given = dict(config)
    name = given.pop("name", "agenda")
    takes_model = USERS.takes(name, "model")
    known = {*UserOptions.__struct_fields__, *option_names(USERS.find(name), _CONTEXT)}
    if takes_model:
        # An environment whose user has no model does not import the clients of models.
        from agent_gym_env.lm.open_model import ModelOptions, make_with_model

        known |= {*ModelOptions.__struct_fields__}
    refuse_unknown(f"user {name!r}", given, known)
    common = {each: given.pop(each) for each in UserOptions.__struct_fields__ if each in given}
    options = _read(f"user {name!r}", {"name": name, **common}, UserOptions)
    context = {"split": split, "corpus": corpus}
    made = (
        make_with_model(USERS, name, given, context)
        if takes_model
        else USERS.make(name, given, context)
    )
    return options, checked_user(made)


_CONTEXT = ("split", "corpus", "model")


def checked_user(user: Any) -> UserWording:
    """Return a user.

    Raises:
        TypeError: it has no method ``words``.
    """
    if not callable(getattr(user, "words", None)):
        raise TypeError(
            "user must be a name or a mapping with a name and options, or an object with the "
            f"method words, not {type(user).__name__}"
        )
    return user  # type: ignore[no-any-return]


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
