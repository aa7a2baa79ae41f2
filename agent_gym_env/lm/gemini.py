"""Gemini's key and model names, and the models that Google has shut down with their successors."""

from __future__ import annotations

import datetime
import logging
import os
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from agent_gym_env.errors import MissingCredentials, RetiredModelError
from agent_gym_env.lm.base import MODEL_VARIABLE
from agent_gym_env.lm.secret import Secret, key_from_environment

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The variables that hold the key; the first that is set counts."""

_log = logging.getLogger(__name__)

_GEMINI_HOST = "generativelanguage.googleapis.com"
_ADDRESS_VARIABLES = ("GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL")
"""The variables by which litellm and google-genai are sent to another address than Google's."""

_NO_KEY = f"no key is in the environment either: set {' or '.join(KEY_VARIABLES)}"
_DEPRECATIONS = "https://ai.google.dev/gemini-api/docs/deprecations"

WhenRetired = Literal["refuse", "successor", "ask"]
"""Treatment of a retired model: raise an error, ask its first successor, or ask it anyway."""


class RetiredModel(msgspec.Struct, frozen=True):
    """A model that its provider no longer serves.

    Attributes:
        name: the model's name without litellm's prefix.
        day: the day of the shutdown.
        successors: the models to ask in its place, the nearest first.
        source: the page that says so.
    """

    name: str
    day: datetime.date
    successors: tuple[str, ...]
    source: str = _DEPRECATIONS


_NEAREST = ("gemini-3.1-pro-preview", "gemini-3.8-flash")

RETIRED_GEMINI_MODELS = {
    model.name: model
    for model in (
        RetiredModel("gemini-3-pro-preview", datetime.date(2026, 3, 9), _NEAREST),
        RetiredModel("gemini-2.5-pro-preview-03-25", datetime.date(2025, 12, 2), _NEAREST),
        RetiredModel("gemini-2.5-pro-preview-05-06", datetime.date(2025, 12, 2), _NEAREST),
        RetiredModel("gemini-2.5-pro-preview-06-05", datetime.date(2025, 12, 2), _NEAREST),
    )
}
"""By name. gemini-2.5-pro and gemini-2.5-flash are not here: sources disagree on their last day."""


def model_to_ask(model: str, api_base: str | None, when_retired: WhenRetired) -> str:
    """Return the model to ask for a configured Gemini model.

    Only Google's own address is known not to serve a retired model: a proxy, a recording or a
    server for tests may serve any name, so other addresses are asked as configured.

    Args:
        model: the configured name, with or without litellm's prefix.
        api_base: the configured address; ``None`` for the provider's own.
        when_retired: what to do about a retired model.

    Raises:
        RetiredModelError: the model is retired, and no fall-back was chosen.
    """
    bare = bare_name(model)
    retired = RETIRED_GEMINI_MODELS.get(bare)
    if retired is None or when_retired == "ask" or not _is_googles(api_base):
        return model
    prefix = model.removesuffix(bare)
    if when_retired == "refuse":
        raise RetiredModelError(_refusal(retired))
    successor = prefix + retired.successors[0]
    _log.warning("%s was shut down on %s; asking %s in its place", model, retired.day, successor)
    return successor


def _is_googles(api_base: str | None) -> bool:
    if api_base is not None:
        return urlsplit(api_base).hostname == _GEMINI_HOST
    return not any(os.environ.get(name) for name in _ADDRESS_VARIABLES)


def _refusal(retired: RetiredModel) -> str:
    nearest, *others = (f"gemini/{name}" for name in retired.successors)
    more = "".join(f" or {name}" for name in others)
    return (
        f"gemini/{retired.name} was retired by Google on {retired.day} ({retired.source}). "
        f"Name a successor, {nearest} (nearest){more}: with --model {nearest}, in the environment "
        f'variable {MODEL_VARIABLE}, or as "model" in a configuration. With '
        '"when_retired": "successor" the nearest is asked in its place, with "ask" the retired '
        "model itself" + ("" if any(map(os.environ.get, KEY_VARIABLES)) else f"; {_NO_KEY}")
    )


def gemini_key(model: str, given: str | None = None) -> Secret:
    """Give the key.

    Args:
        model: for the message.
        given: by the user; ``None`` for the environment's.

    Raises:
        MissingCredentials: there is none.
    """
    key = Secret(given) if given else key_from_environment(*KEY_VARIABLES)
    if key is None:
        variables = " or ".join(KEY_VARIABLES)
        raise MissingCredentials(
            f"there is no key for {model}: set the environment variable {variables}"
        )
    return key


def bare_name(model: str) -> str:
    """Return a model's name without litellm's prefix and Google's own."""
    return model.removeprefix("gemini/").removeprefix("models/")
