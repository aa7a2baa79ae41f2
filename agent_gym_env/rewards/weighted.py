"""The balanced reward: words weighed by how much they say, slot values, and tool calls where due."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import fsum, log

from agent_gym_env.corpus.sgd import DONTCARE
from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.corpus.values import canonical
from agent_gym_env.corpus.words import words
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.calls import tool_accuracy
from agent_gym_env.rewards.spoken import spoken_share
from agent_gym_env.types import ToolCall


class BalancedReward:
    """The mean of the parts that apply to the turn.

    ``response_similarity`` always applies; ``slot_values`` where the annotation marks values in the
    recorded reply; ``tool_accuracy`` where a call is due or made. Silence scores 0, the recorded turn
    exactly 1.

    Args:
        documents: how many utterances the word counts are over.
        frequency: in how many of them each word stands; words as `words` lists them, decoded.
        tools: tools by name, for the defaults of their optional arguments.
    """

    name = "balanced"
    parts = ("response_similarity", "slot_values", "tool_accuracy")

    def __init__(
        self, documents: int, frequency: Mapping[str, int], tools: Mapping[str, ToolSpec]
    ) -> None:
        self._weights = _Weights(documents, frequency)
        self._tools = tools

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; a part that does not apply to it is ``None``."""
        target = turn.target
        said = words(turn.text)
        similarity = self._similarity(said, words(target.text))
        values = accuracy = None
        if target.values:
            values = spoken_share(target.values, turn.text, said, turn.date)
        if target.call is not None or turn.calls:
            agreement = partial(self._agreement, today=turn.date)
            accuracy = tool_accuracy(target.call, turn.calls, agreement)
        applied = [part for part in (similarity, values, accuracy) if part is not None]
        return Score(
            sum(applied) / len(applied),
            {"response_similarity": similarity, "slot_values": values, "tool_accuracy": accuracy},
        )

    def _similarity(self, said: list[bytes], expected: list[bytes]) -> float:
        """Compare two bags of words: the weight of their common words over that of all words."""
        if said == expected:
            return 1.0
        weigh = self._weights.__getitem__
        # Exact sums: bags that are equal but for the order of words give exactly 1.
        common = fsum(map(weigh, _common(said, expected)))
        everything = fsum(map(weigh, said)) + fsum(map(weigh, expected)) - common
        return common / everything

    def _agreement(self, expected: RecordedCall, call: ToolCall, today: str) -> float:
        if call.arguments == expected.arguments:
            return 1.0
        optional = self._defaults(expected.name)
        due = _given(expected.arguments, optional, today)
        made = _given(call.arguments, optional, today)
        names = due.keys() | made.keys()
        if not names:
            return 1.0
        equal = sum(
            _is_form(made[name], due[name], expected.forms.get(name, ()), today)
            for name in due.keys() & made.keys()
        )
        return equal / len(names)

    def _defaults(self, tool: str) -> Mapping[str, str]:
        spec = self._tools.get(tool)
        return spec.defaults if spec else {}


class _Weights(dict[bytes, float]):
    """``ln((1 + n) / (1 + df)) + 1`` by word; a word of no document weighs most."""

    def __init__(self, documents: int, frequency: Mapping[str, int]) -> None:
        super().__init__(
            (word.encode(), log((1 + documents) / (1 + count)) + 1)
            for word, count in frequency.items()
        )
        self._unknown = log(1 + documents) + 1

    def __missing__(self, word: bytes) -> float:
        return self._unknown


def _common(said: list[bytes], expected: list[bytes]) -> list[bytes]:
    """List the words that two bags share, each as often as the bag that has it less often."""
    left: dict[bytes, int] = {}
    for word in expected:
        left[word] = left.get(word, 0) + 1
    common = []
    for word in said:
        count = left.get(word)
        if count:
            left[word] = count - 1
            common.append(word)
    return common


def _given(
    arguments: Mapping[str, object], defaults: Mapping[str, str], today: str
) -> dict[str, object]:
    """Leave out the optional arguments whose value says no more than their absence."""
    return {
        name: value
        for name, value in arguments.items()
        if name not in defaults or not _is_form(value, defaults[name], (DONTCARE,), today)
    }


def _is_form(value: object, expected: object, forms: tuple[str, ...], today: str) -> bool:
    if value == expected:
        return True
    key = canonical(value, today)
    return key == canonical(expected, today) or any(key == canonical(form, today) for form in forms)
