"""When two calls of a tool say the same: one notion for tools, rewards and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent_gym_env.corpus.sgd import DONTCARE
from agent_gym_env.corpus.task import RecordedCall
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


class Agreement(NamedTuple):
    """How the arguments of a call agree with those of the recorded one.

    Attributes:
        equal: how many are in both with the same value.
        due: how many the recorded call states.
        made: how many the call states.
        either: how many distinct names there are in both together.
    """

    equal: int
    due: int
    made: int
    either: int

    def is_whole(self) -> bool:
        """Tell whether the calls say the same."""
        return self.equal == self.either


def agreement(
    recorded: RecordedCall, arguments: Mapping[str, object], defaults: Mapping[str, str], today: str
) -> Agreement:
    """Compare the arguments of a call with those of the recorded one, by what they mean.

    Args:
        recorded: the recorded call.
        arguments: of a call of the same tool.
        defaults: value by name of each optional argument; one that is at it counts as absent.
        today: the day of the dialogue, ISO.
    """
    due = stated_arguments(recorded.arguments, defaults, today)
    made = stated_arguments(arguments, defaults, today)
    equal = sum(
        is_form(made[name], recorded.arguments[name], recorded.forms.get(name, ()), today)
        for name in due.keys() & made.keys()
    )
    return Agreement(equal, len(due), len(made), len(due.keys() | made.keys()))


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
