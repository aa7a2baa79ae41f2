"""The balanced reward: weighed words, slot values, and tool calls where one is due or made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from math import fsum, log

from agent_gym_env.corpus.task import RecordedCall
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.calls import tool_accuracy
from agent_gym_env.rewards.spoken import spoken_share
from agent_gym_env.types import ToolCall
from agent_gym_env.values.equality import agreement
from agent_gym_env.values.words import words


class BalancedReward:
    """The mean of the parts that apply to the turn.

    ``response_similarity`` always applies; ``slot_values`` where the annotation marks values in the
    recorded reply; ``tool_accuracy`` where a call is due or made. Silence scores 0, and what the
    corpus did exactly 1.

    Args:
        documents: how many utterances the words were counted in.
        frequency: in how many of them each word stands.
        tools: tools by name, for the defaults of their optional arguments.
    """

    name = "balanced"
    parts: tuple[str, ...] = ("response_similarity", "slot_values", "tool_accuracy")

    def __init__(
        self, documents: int, frequency: Mapping[str, int], tools: Mapping[str, ToolSpec]
    ) -> None:
        self.weights = WordWeights(documents, frequency)
        self._tools = tools

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; a part that does not apply to it is ``None``."""
        similarity, values = self._score_text(turn)
        accuracy = None
        if turn.calls or turn.target.call is not None:
            agree = partial(self._agreement, today=turn.date)
            accuracy = tool_accuracy(turn.target.call, turn.calls, agree)
        applied = [part for part in (similarity, values, accuracy) if part is not None]
        return Score(
            sum(applied) / len(applied),
            {"response_similarity": similarity, "slot_values": values, "tool_accuracy": accuracy},
        )

    def _score_text(self, turn: ClosedTurn) -> tuple[float, float | None]:
        text, target = turn.text, turn.target
        if text == target.text:
            return 1.0, 1.0 if target.values else None
        said = words(text)
        similarity = self._similarity(said, words(target.text))
        if not target.values:
            return similarity, None
        return similarity, spoken_share(target.values, text, said, turn.date)

    def _similarity(self, said: list[bytes], expected: list[bytes]) -> float:
        """Compare two bags of words: the weight of their common words over that of all words."""
        if said == expected:
            return 1.0
        weigh = self.weights.__getitem__
        # Exact sums: bags that are equal but for the order of words give exactly 1.
        common = fsum(map(weigh, _common(said, expected)))
        return common / (fsum(map(weigh, said)) + fsum(map(weigh, expected)) - common)

    def _agreement(self, expected: RecordedCall, call: ToolCall, today: str) -> float:
        if call.arguments == expected.arguments:
            return 1.0
        defaults = self._defaults(expected.name)
        found = agreement(expected.arguments, expected.forms, call.arguments, defaults, today)
        return found.equal / found.either if found.either else 1.0

    def _defaults(self, tool: str) -> Mapping[str, str]:
        spec = self._tools.get(tool)
        return spec.defaults if spec else {}


class WordWeights(dict[bytes, float]):
    """``ln((1 + n) / (1 + df)) + 1`` by word; a word that stands nowhere weighs most."""

    def __init__(self, documents: int, frequency: Mapping[str, int]) -> None:
        if max(frequency.values(), default=0) > documents:
            raise ValueError(f"a word stands in more than the {documents} utterances there are")
        super().__init__(
            (word.encode(), _weight(documents, count)) for word, count in frequency.items()
        )
        self._unknown = _weight(documents, 0)

    def __missing__(self, word: bytes) -> float:
        return self._unknown


def _weight(documents: int, count: int) -> float:
    return log((1 + documents) / (1 + count)) + 1


def _common(said: list[bytes], expected: list[bytes]) -> Collection[bytes]:
    """Give the words that two bags share, each as often as the bag that has it less often."""
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
