"""Rules of surface forms: a pattern of what people write, and how to read what it matched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import NamedTuple

Reader = Callable[["re.Match[str]", date], "str | None"]
"""From a match and the day on which it was said to the canonical value; ``None`` if it has none."""

_NAMED_GROUP = re.compile(r"\(\?P<\w+>")


class Rule(NamedTuple):
    """A surface form."""

    pattern: re.Pattern[str]
    read: Reader


def rule(pattern: str, read: Reader) -> Rule:
    """Make a rule; a space of the pattern stands for a little white space.

    Every repetition in a pattern must be bounded: texts come from an agent, and a search must take
    linear time.
    """
    return Rule(re.compile(pattern.replace(" ", r"\s{1,3}")), read)


def any_of(words: Iterable[str]) -> str:
    """Write a pattern that matches one of some words."""
    return f"(?:{'|'.join(words)})"


def either(rules: Iterable[Rule]) -> str:
    """Write a pattern, free of groups, that matches what one of the rules matches."""
    return "|".join(_NAMED_GROUP.sub("(?:", rule.pattern.pattern) for rule in rules)


def read_first(rules: Iterable[Rule], text: str, today: date) -> str | None:
    """Read a whole text by the first rule that can."""
    for pattern, read in rules:
        match = pattern.fullmatch(text)
        value = match and read(match, today)
        if value:
            return value
    return None
