"""Counts of the words and values in the dialogues and schemas of a train split."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.corpus.task import RecordedCall, Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.retrieval.tokens import (
    content_words,
    identifier_words,
    phrase_key,
    stem,
)
from agent_gym_env.values.equality import DONTCARE, canonical

ValueKind = Literal["text", "date", "time", "number", "boolean"]

_FREE_KINDS: tuple[ValueKind, ...] = ("text", "date", "time", "number")

_LOWER_CASE = re.compile(r"\b[a-z][\w'.-]*\b")

_COMMON = 3
"""A word that users write in lower case this often is not taken for a proper name."""

_NOISE = 8
"""A phrase is ignored as a value if users say it this many times more often as another word."""


class Vocabulary(msgspec.Struct):
    """Counts over a split.

    Attributes:
        phrases: counts by phrase that users said for a textual argument, argument's name and
            canonical value.
        common: words in lower case that are not proper names.
        kinds: counts of the kinds of values that free-text arguments took, by word of the
            argument's name or description.
        query_verbs: number of queries minus number of transactions, by first verb of their names.
        listed_words: words of all listed values.
        dates: most frequent words of the system for a date, by ISO date.
    """

    phrases: dict[str, dict[str, dict[str, int]]] = {}
    common: set[str] = set()
    kinds: dict[str, dict[str, int]] = {}
    query_verbs: dict[str, int] = {}
    listed_words: set[str] = set()
    dates: dict[str, str] = {}

    def is_query(self, intent: str) -> bool:
        """Return whether an intent only looks something up, judged by the verb of its name."""
        return self.query_verbs.get(_verb(intent), 0) > 0

    def kind_of_slot(self, name: str, description: str) -> ValueKind:
        """Return the kind of values that a free-text slot takes, judged by its words."""
        scores: dict[str, float] = defaultdict(float)
        # Its name says more than its description.
        name_words = identifier_words(name)
        for word in (*name_words, *name_words, *{*name_words, *content_words(description)}):
            for kind, score in self._kind_scores(word).items():
                scores[kind] += score
        return max(_FREE_KINDS, key=lambda kind: scores[kind])

    def _kind_scores(self, word: str) -> dict[str, float]:
        counts = self.kinds.get(word)
        if not counts:
            return {}
        total = sum(counts.values())
        return {kind: math.log((counts.get(kind, 0) + 0.1) / (total + 0.4)) for kind in _FREE_KINDS}

    def knows(self, values: Iterable[str]) -> bool:
        """Return whether each listed value shares a word with a listed value of the split."""
        return all(not self.listed_words.isdisjoint(phrase_key(value).split()) for value in values)

    def slots_of_phrase(self, key: str, most: int = 3) -> list[str]:
        """Return the arguments that a phrase was most often said for, the most frequent first."""
        known = self.phrases.get(key, {})
        return sorted(known, key=lambda name: (-sum(known[name].values()), name))[:most]

    def value_of_phrase(self, key: str, slot: str) -> str | None:
        """Return the most frequent canonical value of a phrase in a free-text slot."""
        known = self.phrases.get(key, {})
        return _most_frequent(known.get(slot) or _values_of_nearest(known, slot))

    def value_among(self, key: str, values: Iterable[str]) -> str | None:
        """Return the most frequent of some listed values for a phrase."""
        counts = Counter[str]()
        for known in self.phrases.get(key, {}).values():
            counts.update({value: known[value] for value in values if value in known})
        return _most_frequent(counts)


def _most_frequent(counts: Mapping[str, int]) -> str | None:
    return max(counts, key=lambda value: (counts[value], value)) if counts else None


def _values_of_nearest(known: Mapping[str, dict[str, int]], slot: str) -> Mapping[str, int]:
    words = set(identifier_words(slot))
    if not known:
        return {}
    nearest = max(
        known,
        key=lambda name: (
            len(words & set(identifier_words(name))),
            sum(known[name].values()),
            name,
        ),
    )
    return known[nearest]


@functools.lru_cache(maxsize=1 << 14)
def kind_of_value(value: str, today: str | None) -> ValueKind:
    """Return the kind of a value."""
    key = canonical(value, today)
    if len(key) == 10 and key[4] == key[7] == "-":
        return "date"
    if len(key) == 5 and key[2] == ":":
        return "time"
    if key in ("true", "false"):
        return "boolean"
    return "number" if key.lstrip("-").replace(".", "", 1).isdecimal() else "text"


class VocabularyBuilder:
    """Counts words and values, dialogue by dialogue."""

    def __init__(self, tools: Mapping[str, ToolSpec]) -> None:
        self._tools = tools
        # The tools of a log are listed by keys, and several may have one name.
        self._arguments: dict[str, dict[str, Slot]] = {}
        for tool in tools.values():
            self._arguments.setdefault(tool.name, {}).update(tool.arguments)
        self._phrases: dict[str, dict[str, Counter[str]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        self._kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self._dates: dict[str, Counter[str]] = defaultdict(Counter)
        self._lower_case = Counter[str]()

    def add(self, task: Task) -> None:
        """Add the counts of a dialogue."""
        for turn in task.turns:
            self._lower_case.update(_LOWER_CASE.findall(turn.user))
            if turn.call is not None:
                self._add_call(turn.call, task.date)
            for value in turn.values:
                if kind_of_value(value.text, task.date) == "date":
                    self._dates[canonical(value.text, task.date)][value.text] += 1

    def _add_call(self, call: RecordedCall, today: str | None) -> None:
        known = self._arguments.get(call.name, {})
        for name, value in call.arguments.items():
            slot = known.get(name)
            if slot is None:  # a log's schema may not name it
                continue
            kind = kind_of_value(value, today)
            if not slot.is_categorical:
                for word in (*identifier_words(name), *content_words(slot.description)):
                    self._kinds[word][kind] += 1
            if kind == "text":
                for form in {value, *call.forms.get(name, ())} - {DONTCARE}:
                    self._phrases[phrase_key(form)][name][value] += 1

    def build(self) -> Vocabulary:
        """Return the counts."""
        slots = [slot for tool in self._tools.values() for slot in tool.arguments.values()]
        return Vocabulary(
            phrases=self._telling_phrases(),
            common={word for word, count in self._lower_case.items() if count >= _COMMON} | {"i"},
            kinds={word: dict(counts) for word, counts in self._kinds.items()},
            query_verbs=self._verbs(),
            listed_words=_listed_words(slots),
            dates={key: said.most_common(1)[0][0] for key, said in self._dates.items()},
        )

    def _telling_phrases(self) -> dict[str, dict[str, dict[str, int]]]:
        said = Counter[str]()
        for word, count in self._lower_case.items():
            said[stem(word)] += count
        return {
            key: {name: dict(values) for name, values in slots.items()}
            for key, slots in self._phrases.items()
            if key and said[key] <= _NOISE * sum(sum(values.values()) for values in slots.values())
        }

    def _verbs(self) -> dict[str, int]:
        verbs = Counter[str]()
        for tool in self._tools.values():
            verbs[_verb(tool.intent)] += -1 if tool.transactional else 1
        return dict(verbs)


def _verb(intent: str) -> str:
    return next(iter(identifier_words(intent)), "")


def _listed_words(slots: Iterable[Slot]) -> set[str]:
    return {
        word
        for slot in slots
        for value in slot.possible_values
        for word in phrase_key(value).split()
    }
