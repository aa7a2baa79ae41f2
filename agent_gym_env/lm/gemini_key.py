"""Where the key for Gemini comes from, and what its models are called."""

from __future__ import annotations

from agent_gym_env.errors import MissingCredentials
from agent_gym_env.lm.secret import Secret, key_from_environment

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The variables that hold the key; the first that is set counts."""


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
