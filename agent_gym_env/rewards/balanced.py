"""The reward ``balanced``: weighted words, slot values, and tool calls where they matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate, islice
from math import fsum, log
from typing import Any, Literal

import msgspec

from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.ground_truth import tool_accuracy
from agent_gym_env.suggestions import unknown_name
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import agreement, canonical, value_text
from agent_gym_env.values.patterns import find_values
from agent_gym_env.values.words import words

_MAX_CHARS = 8192
"""Values are searched in this many characters; the longest recorded reply of SGD has 453."""

_NO_VALUE = ("", "true", "false")
"""Forms that do not name a value: "true" alone does not tell which slot is true."""

_MIN_SPACED_DIGITS = 7
"""A phone number may be written in groups, but "7:30" does not say 730."""

_MIN_VALUE_CHARS = 2
"""Shorter values of results, such as the 2 of "2 seats", are in too many replies by chance."""

_MAX_RESULT_VALUES = 1000
"""Number of values of a turn's results that are looked for in the recorded reply."""

ValueSource = Literal["annotated", "results"]


class BalancedReward:
    """The mean of the parts that apply to the turn.

    ``response_similarity`` always applies; ``slot_values`` where the annotation marks values in the
    recorded reply; ``tool_accuracy`` where a call is due or made. Silence scores 0, and what the
    corpus did exactly 1.

    Args:
        documents: number of utterances in which words were counted.
        frequency: number of utterances that contain a word, by word.
        tools: tools by name, for the defaults of their optional arguments.
        values: ``"annotated"`` to look for the values that the annotation marks only; with
            ``"results"``, in a turn without such marks, the values that the recorded results and
            the recorded reply share take their place; see `shared_values`.

    Raises:
        ValueError: a word is counted too often, or ``values`` is none of these.
    """

    name = "balanced"
    parts: tuple[str, ...] = ("response_similarity", "slot_values", "tool_accuracy")

    def __init__(
        self,
        documents: int,
        frequency: Mapping[str, int],
        tools: Mapping[str, ToolSpec],
        *,
        values: ValueSource = "annotated",
    ) -> None:
        if values not in ("annotated", "results"):
            raise ValueError(unknown_name("values", values, ("annotated", "results")))
        self._from_results = values == "results"
        self.weights = WordWeights(documents, frequency)
        # Of several versions of a tool in a log, the first.
        self._tools = {tool.name: tool for tool in reversed(list(tools.values()))}

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; a part that does not apply to it is ``None``."""
        similarity, values = self._score_text(turn)
        accuracy = None
        if turn.calls or turn.target.call is not None:
            agree = partial(self._agreement, today=turn.date)
            accuracy = tool_accuracy(turn.target.calls, turn.calls, agree)
        applied = [part for part in (similarity, values, accuracy) if part is not None]
        return Score(
            sum(applied) / len(applied),
            {"response_similarity": similarity, "slot_values": values, "tool_accuracy": accuracy},
        )

    def _score_text(self, turn: ClosedTurn) -> tuple[float, float | None]:
        text, target = turn.text, turn.target
        values = target.values
        if not values and self._from_results and target.call is not None:
            values = shared_values(target, turn.date)
        if text == target.text:
            return 1.0, 1.0 if values else None
        said = words(text)
        similarity = self._similarity(said, words(target.text))
        if not values:
            return similarity, None
        return similarity, spoken_share(values, text, said, turn.date)

    def _similarity(self, said: list[bytes], expected: list[bytes]) -> float:
        """Return the weight of the common words of two bags over the weight of all their words."""
        if said == expected:
            return 1.0
        weigh = self.weights.__getitem__
        # Exact sums: bags that are equal but for the order of words give exactly 1.
        common = fsum(map(weigh, _common(said, expected)))
        return common / (fsum(map(weigh, said)) + fsum(map(weigh, expected)) - common)

    def _agreement(self, expected: RecordedCall, call: ToolCall, today: str | None) -> float:
        if call.arguments == expected.arguments:
            return 1.0
        defaults = self._defaults(expected.name)
        found = agreement(expected.arguments, expected.forms, call.arguments, defaults, today)
        return found.equal / found.either if found.either else 1.0

    def _defaults(self, tool: str) -> Mapping[str, object]:
        spec = self._tools.get(tool)
        return spec.defaults if spec else {}


class WordWeights(dict[bytes, float]):
    """Weight of each word, ``ln((1 + n) / (1 + df)) + 1``; an unknown word weighs most."""

    def __init__(self, documents: int, frequency: Mapping[str, int]) -> None:
        if max(frequency.values(), default=0) > documents:
            raise ValueError(f"a word is counted in more than the {documents} utterances")
        super().__init__(
            (word.encode(), _weight(documents, count)) for word, count in frequency.items()
        )
        self._unknown = _weight(documents, 0)

    def __missing__(self, word: bytes) -> float:
        return self._unknown


def _weight(documents: int, count: int) -> float:
    return log((1 + documents) / (1 + count)) + 1


def _common(said: list[bytes], expected: list[bytes]) -> Collection[bytes]:
    """Return the words that two bags share, each as often as in the bag with fewer of it."""
    said_once, expected_once = set(said), set(expected)
    if len(said_once) == len(said) or len(expected_once) == len(expected):
        return said_once & expected_once
    left = Counter(expected)
    common = []
    for word in said:
        if left[word]:
            left[word] -= 1
            common.append(word)
    return common


def spoken_share(
    values: Sequence[SpokenValue], text: str, said: Sequence[bytes], today: str | None
) -> float:
    """Return the share of some slot values that a reply says, in [0, 1].

    Args:
        values: slot values, at least one.
        text: the reply.
        said: words of the reply.
        today: day of the conversation, ISO.
    """
    if not said:
        return 0.0
    if len(text) > _MAX_CHARS:
        text = text[:_MAX_CHARS]
        said = words(text)
    reply = _Reply(text, said, today)
    return sum(map(reply.says, values)) / len(values)


# Kept, since an evaluation scores the same turns for many agents.
@lru_cache(maxsize=1024)
def _found_values(
    results: tuple[str, ...], text: str, today: str | None
) -> tuple[SpokenValue, ...]:
    text = text[:_MAX_CHARS]
    reply = _Reply(text, words(text), today)
    values: dict[str, SpokenValue] = {}
    leaves = (leaf for result in results for leaf in _leaves(msgspec.json.decode(result)))
    for name, value in islice(leaves, _MAX_RESULT_VALUES):
        key = canonical(value, today)
        found = SpokenValue(name, value)
        if key not in values and key not in _NO_VALUE and words(value) and reply.says(found):
            values[key] = found
    return tuple(values.values())


def shared_values(target: Turn, today: str | None) -> tuple[SpokenValue, ...]:
    """Return the values that the recorded results of a turn and its recorded reply share.

    They are the texts and numbers of at least two characters, at any depth of the results, that the
    reply says: the first 1,000 of them, each once.

    Args:
        target: recorded turn.
        today: day of the conversation, ISO; ``None`` if it is not known.
    """
    return _found_values(tuple(call.results for call in target.calls), target.text, today)


def _leaves(result: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts and numbers inside a JSON value, each with the name of its field."""
    left: list[tuple[str, Any]] = [("", result)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += reversed(value.items())
        elif isinstance(value, list):
            left += [(name, each) for each in reversed(value)]
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            text = value_text(value)
            if len(text) >= _MIN_VALUE_CHARS:
                yield name, text


class _Reply:
    """A reply in which slot values are searched."""

    def __init__(self, text: str, said: Sequence[bytes], today: str | None) -> None:
        self._text = text
        self._said = said
        self._today = today
        self._spaced = b" %b " % b" ".join(said)
        self._glued = b"".join(said)
        self._ends: set[int] | None = None
        self._mentions: set[str] | None = None

    def says(self, value: SpokenValue) -> bool:
        """Return whether the reply has a value's words, a form of it, or its date or number."""
        if b" %b " % b" ".join(words(value.text)) in self._spaced:
            return True
        return any(self._says_form(form) for form in (value.text, *value.forms))

    def _says_form(self, form: str) -> bool:
        key = canonical(form, self._today)
        if key in _NO_VALUE:
            return False
        return self._spells(key) or self._mentions_key(key)

    def _spells(self, key: str) -> bool:
        """Return whether some whole words in a row spell the key, whatever is between them."""
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
