"""A linear choice among options, learned from which words of a conversation go with which of a schema.

Each option is a set of features (words of a tool's description, say), the situation is another (the
user's words): the score of an option is the sum of a weight for each pair of the two. The weights
lie in one hashed table, so that an option never met before is scored by the words it shares with
options that were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.offer import Features

_BITS = 20
_MIX = 0x9E3779B97F4A7C15 >> 1


class Chooser:
    """A softmax over options."""

    def __init__(self, weights: NDArray[np.float32] | None = None, rate: float = 0.1) -> None:
        self.weights = np.zeros(1 << _BITS, np.float32) if weights is None else weights
        self._gradients = np.full(1 << _BITS, 1e-6, np.float32)
        self.rate = rate

    def probabilities(self, situation: Features, options: Sequence[Features]) -> NDArray[np.float64]:
        return _softmax(self._scores(_pairs(situation, options), options))

    def learn(self, situation: Features, options: Sequence[Features], right: int) -> NDArray[np.float64]:
        """Take one step of AdaGrad towards the right option; gives the probabilities before it."""
        pairs = _pairs(situation, options)
        before = _softmax(self._scores(pairs, options))
        error = before.copy()
        error[right] -= 1.0
        if abs(error[right]) < 0.02:
            return before
        gradient = np.repeat(error, [len(option) for option in options]).astype(np.float32)
        flat = pairs.ravel()
        step = np.broadcast_to(gradient, pairs.shape).ravel() 
        np.add.at(self._gradients, flat, step * step)
        np.add.at(self.weights, flat, -self.rate * step / np.sqrt(self._gradients[flat]))
        return before

    def _scores(self, pairs: NDArray[np.int64], options: Sequence[Features]) -> NDArray[np.float64]:
        sums = self.weights[pairs].sum(axis=0, dtype=np.float64)
        starts = np.cumsum([0, *(len(option) for option in options[:-1])])
        return np.add.reduceat(sums, starts)


def _pairs(situation: Features, options: Sequence[Features]) -> NDArray[np.int64]:
    columns = np.concatenate(options)
    mixed = (situation[:, None] * 0x9E3779B1 + columns[None, :] * 0x85EBCA6B) & 0x7FFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 29)) & ((1 << _BITS) - 1)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()
