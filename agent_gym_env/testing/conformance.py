"""The error that every check raises, and how the checks run code that is not ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from agent_gym_env.errors import LMError

_T = TypeVar("_T")

_EXCERPT_CHARS = 300
_CONTEXT_CHARS = 60

ODD_TEXT = "Grüße \U0001f375 \0 \u202e 日本語 '\"\\{}%s " + "word " * 200
"""Text that an agent may write and that careless code does not expect."""


class ConformanceError(AssertionError):
    """An implementation breaks a promise of its protocol.

    Attributes:
        subject: the implementation, for example ``policy 'mine'``.
        promise: the promise, as ``docs/reference/checks.md`` lists it.
        expected: what the promise asks for.
        found: what the implementation did.
        where: the dialogue, turn or call; ``""`` where the promise is not about one.
    """

    def __init__(
        self, subject: str, promise: str, expected: str, found: str, where: str = ""
    ) -> None:
        super().__init__(subject, promise, expected, found, where)
        self.subject = subject
        self.promise = promise
        self.expected = expected
        self.found = found
        self.where = where

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return (
            f"{self.subject} breaks the promise {self.promise!r}{place}: "
            f"expected {self.expected}, found {self.found}"
        )


class Check:
    """Raises in the name of one implementation."""

    def __init__(self, kind: str, name: object) -> None:
        self._subject = f"{kind} {name!r}"

    def require(
        self, holds: bool, promise: str, expected: str, found: object, where: str = ""
    ) -> None:
        """Raise unless a promise holds."""
        if not holds:
            self.fail(promise, expected, found, where)

    def fail(self, promise: str, expected: str, found: object, where: str = "") -> NoReturn:
        """Raise for a promise that is broken."""
        raise ConformanceError(self._subject, promise, expected, excerpt(found), where)

    def call(
        self, promise: str, where: str, function: Callable[..., _T], *args: Any, **named: Any
    ) -> _T:
        """Run code of the implementation; only the failure of a language model is let through."""
        try:
            return function(*args, **named)
        except (ConformanceError, LMError):
            raise
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            raise ConformanceError(self._subject, promise, "no exception", found, where) from error

    def require_methods(self, implementation: object, *names: str) -> None:
        """Raise unless an implementation has all methods of its protocol."""
        missing = [name for name in names if not callable(getattr(implementation, name, None))]
        promise = "has the methods of its protocol"
        self.require(not missing, promise, f"the methods {names}", f"no {missing}")

    def require_name(self, name: object) -> None:
        """Raise unless a name is a string with characters in it."""
        holds = isinstance(name, str) and bool(name)
        self.require(holds, "has a name", "a `name` that is a string, not empty", name)


def excerpt(value: object) -> str:
    """Write a value, cut to what an error message can hold."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _EXCERPT_CHARS else f"{text[:_EXCERPT_CHARS]}…"


def compare(
    check: Check, promise: str, found: Sequence[Any], expected: Sequence[Any], where: str
) -> None:
    """Raise unless two sequences are equal, for the first place where they differ."""
    for number, (left, right) in enumerate(itertools.zip_longest(found, expected)):
        if left != right:
            start = _first_difference(str(left), str(right))
            place = f"{where}, number {number}, from character {start}"
            check.fail(promise, excerpt(str(right)[start:]), str(left)[start:], place)


def _first_difference(text: str, other: str) -> int:
    """Find where two texts begin to differ, and go back a little so that a reader sees where."""
    pairs = zip(text, other, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return max(0, same - _CONTEXT_CHARS)
