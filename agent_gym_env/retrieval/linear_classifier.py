"""A linear classifier over options that are described by words, with hashed weights.

The situation is a set of features, such as the user's words. Each option is another set, such as
the words of a tool's description. The score of an option is the sum of one weight for each pair of
a feature of the situation and a feature of the option. So an option of an unseen service is scored
by the words that it shares with options of the train split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.tokens import Features

BITS = 21
_SMALL_ERROR = 0.02
"""An update is skipped if the probability of the right option is closer to 1 than this."""


class Option(NamedTuple):
    """An option of a choice.

    Attributes:
        words: features of the option's words in the schema.
        flags: features of the option's relation to the conversation.
    """

    words: Features
    flags: Features


class LinearClassifier:
    """A softmax over options whose weights lie in one hashed table.

    Args:
        weights: float32, shape ``(2**21,)``; by default zeros.
    """

    def __init__(self, weights: NDArray[np.float32] | None = None) -> None:
        self.weights = np.zeros(1 << BITS, np.float32) if weights is None else weights

    def probabilities(self, situation: Features, options: Sequence[Option]) -> NDArray[np.float64]:
        """Return the probability of each option, shape ``(options,)``."""
        sides = [np.concatenate(option) for option in options]
        return self._softmax(_buckets(situation, np.concatenate(sides)), sides)

    def independent(self, situation: Features, options: Sequence[Option]) -> NDArray[np.float64]:
        """Return the probability that each option holds, whatever the others do."""
        sides = [np.concatenate(option) for option in options]
        return _sigmoid(self._scores(_buckets(situation, np.concatenate(sides)), sides))

    def _softmax(
        self, buckets: NDArray[np.uint32], sides: Sequence[Features]
    ) -> NDArray[np.float64]:
        scores = self._scores(buckets, sides)
        exponentials = np.exp(scores - scores.max())
        probabilities: NDArray[np.float64] = exponentials / exponentials.sum()
        return probabilities

    def _scores(
        self, buckets: NDArray[np.uint32], sides: Sequence[Features]
    ) -> NDArray[np.float64]:
        columns = self.weights[buckets].sum(axis=0, dtype=np.float64)
        sums = np.concatenate(([0.0], np.cumsum(columns)))
        ends = np.cumsum([len(side) for side in sides])
        return np.diff(sums[ends], prepend=0.0)


class TrainableClassifier(LinearClassifier):
    """Trained by AdaGrad on the log loss, one choice at a time.

    Words of an option are dropped at random during training, sometimes all of them. So the flags
    and each single word learn to decide alone, as they must for the schema of an unseen service.

    Args:
        random: generator of the dropped words.
        rate: learning rate.
        drop_word: probability that a word is dropped.
        drop_all: probability that all words of an option are dropped.
    """

    def __init__(
        self,
        random: np.random.Generator,
        *,
        rate: float = 0.02,
        drop_word: float = 0.4,
        drop_all: float = 0.25,
    ) -> None:
        super().__init__()
        self._random = random
        self._rate = np.float32(rate)
        self._drop_word = drop_word
        self._drop_all = drop_all
        self._squares = np.full(1 << BITS, 1e-6, np.float32)

    def update(self, situation: Features, options: Sequence[Option], right: int) -> None:
        """Take one gradient step towards the right option."""
        sides = self._with_words_dropped(options)
        buckets = _buckets(situation, np.concatenate(sides))
        errors = self._softmax(buckets, sides)
        errors[right] -= 1.0
        if -errors[right] >= _SMALL_ERROR:
            self._step(buckets, sides, errors)

    def update_independent(
        self, situation: Features, options: Sequence[Option], right: Sequence[bool]
    ) -> None:
        """Take one gradient step towards the options that hold, each on its own."""
        sides = self._with_words_dropped(options)
        buckets = _buckets(situation, np.concatenate(sides))
        errors = _sigmoid(self._scores(buckets, sides)) - np.array(right, np.float64)
        errors[np.abs(errors) < _SMALL_ERROR] = 0.0
        if errors.any():
            self._step(buckets, sides, errors)

    def _step(
        self,
        buckets: NDArray[np.uint32],
        sides: Sequence[Features],
        errors: NDArray[np.float64],
    ) -> None:
        column_errors = np.repeat(errors.astype(np.float32), [len(side) for side in sides])
        gradient = np.broadcast_to(column_errors, buckets.shape).ravel()
        flat = buckets.ravel()
        np.add.at(self._squares, flat, gradient * gradient)
        np.add.at(self.weights, flat, -self._rate * gradient / np.sqrt(self._squares[flat]))

    def _with_words_dropped(self, options: Sequence[Option]) -> list[Features]:
        lengths = [len(option.words) for option in options]
        drop_all = self._random.random(len(options)) < self._drop_all
        kept = self._random.random((len(options), max(lengths))) >= self._drop_word
        kept[drop_all] = False
        return [
            np.concatenate((option.words[row[:length]], option.flags))
            for option, row, length in zip(options, kept, lengths, strict=True)
        ]


def _sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(scores, -30.0, 30.0)))
    return probabilities


def _buckets(situation: Features, columns: Features) -> NDArray[np.uint32]:
    """Hash each pair of features to an index of the table, shape ``(situation, columns)``."""
    mixed = situation[:, None] * np.uint32(0x9E3779B1) + columns[None, :] * np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x2C1B3C6D)
    buckets: NDArray[np.uint32] = mixed >> np.uint32(32 - BITS)
    return buckets
