"""Whether a reply says the slot values that the recorded one says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from agent_gym_env.corpus.task import SpokenValue
from agent_gym_env.values.equality import canonical
from agent_gym_env.values.patterns import find_values
from agent_gym_env.values.words import words

_MAX_CHARS = 8192
"""Values are looked for no further; the longest recorded reply of SGD has 453 characters."""

_NO_VALUE = ("", "true", "false")
"""A boolean's canonical form says nothing of its slot: "true" alone is no value."""

_MIN_SPACED_DIGITS = 7
"""A phone number may be written in groups, but "7:30" does not say 730."""


def spoken_share(
    values: Sequence[SpokenValue], text: str, said: Sequence[bytes], today: str
) -> float:
    """Give the share of some slot values that a reply says.

    Args:
        values: at least one.
        text: the reply.
        said: its words.
        today: the day on which it is said, ISO.
    """
    if not said:
        return 0.0
    if len(text) > _MAX_CHARS:
        text = text[:_MAX_CHARS]
        said = words(text)
    reply = _Reply(text, said, today)
    return sum(map(reply.says, values)) / len(values)


class _Reply:
    """The words of a reply, and, when asked for, its dates, times and numbers."""

    def __init__(self, text: str, said: Sequence[bytes], today: str) -> None:
        self._text = text
        self._said = said
        self._today = today
        self._spaced = b" %b " % b" ".join(said)
        self._glued = b"".join(said)
        self._ends: set[int] | None = None
        self._mentions: set[str] | None = None

    def says(self, value: SpokenValue) -> bool:
        """Whether the reply says a value: its words, a form of it, or the same date or number."""
        if b" %b " % b" ".join(words(value.text)) in self._spaced:
            return True
        return any(self._says_form(form) for form in (value.text, *value.forms))

    def _says_form(self, form: str) -> bool:
        key = canonical(form, self._today)
        if key in _NO_VALUE:
            return False
        return self._spells(key) or self._mentions_key(key)

    def _spells(self, key: str) -> bool:
        """Whether a run of whole words is the key, whatever stands between the words."""
        spelled = key.encode("utf-8", "surrogatepass")
        if spelled not in self._glued or (key.isdigit() and len(key) < _MIN_SPACED_DIGITS):
            return False
        if self._ends is None:
            self._ends = set(accumulate(map(len, self._said), initial=0))
        ends = self._ends
        return any(at in ends and at + len(spelled) in ends for at in self._places(spelled))

    def _places(self, spelled: bytes) -> Iterator[int]:
        at = self._glued.find(spelled)
        while at >= 0:
            yield at
            at = self._glued.find(spelled, at + 1)

    def _mentions_key(self, key: str) -> bool:
        # The keys of dates, times and numbers end with a digit.
        if not key[-1:].isdigit():
            return False
        if self._mentions is None:
            found = find_values(self._text, self._today)
            self._mentions = {mention.canonical for mention in found}
        return key in self._mentions
