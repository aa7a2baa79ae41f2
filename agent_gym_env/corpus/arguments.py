"""When two calls of a tool say the same: for replay, and for rewards that compare arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent_gym_env.corpus.sgd import DONTCARE
from agent_gym_env.corpus.values import canonical


def stated_arguments(
    arguments: Mapping[str, object], defaults: Mapping[str, str], today: str
) -> dict[str, object]:
    """Leave out the optional arguments whose value says no more than their absence.

    Args:
        arguments: values by argument name.
        defaults: value by name of each optional argument.
        today: the day of the dialogue, ISO.
    """
    return {
        name: value
        for name, value in arguments.items()
        if name not in defaults or not is_form(value, defaults[name], (DONTCARE,), today)
    }


def is_form(value: object, expected: str, forms: Iterable[str], today: str) -> bool:
    """Whether a value is the expected one, or one of the forms in which people say it.

    A list or an object is none, whatever it holds.
    """
    if value == expected:
        return True
    if not isinstance(value, (str, int, float)):
        return False
    key = canonical(value, today)
    return key == canonical(expected, today) or any(key == canonical(form, today) for form in forms)
