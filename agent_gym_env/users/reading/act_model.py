"""A linear model of the dialogue acts that a sentence carries, over hashed n-grams."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.users.reading.text import BITS, ngrams

ACTS = (
    "REQUEST", "OFFER", "CONFIRM", "INFORM", "INFORM_COUNT", "NOTIFY_SUCCESS", "NOTIFY_FAILURE",
    "OFFER_INTENT", "REQ_MORE", "GOODBYE",
)  # fmt: skip
"""The acts of an agent in SGD."""

_BATCH = 512
_EPOCHS, _MOST_EPOCHS, _EXAMPLES = 4, 20, 100_000
"""Few turns are learned from in more epochs, up to about so many examples."""

_RATE = 0.15

Logits = NDArray[np.float32]
"""Log odds of each of `ACTS`, shape ``(acts,)``."""


class ActModel:
    """Scores the acts of sentences; a turn has an act if one of its sentences has it.

    Args:
        weights: float32, shape ``(2**BITS, acts)``.
        bias: float32, shape ``(acts,)``.
    """

    def __init__(self, weights: NDArray[np.float32], bias: Logits) -> None:
        self.weights, self.bias = weights, bias
        # Bounded: without their values sentences come again and again.
        self.sentence = functools.lru_cache(maxsize=1 << 13)(self._sentence)
        self.turn = functools.lru_cache(maxsize=1 << 12)(self._turn)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the weights without the caches."""
        return ActModel, (self.weights, self.bias)

    def _sentence(self, sentence: str) -> Logits:
        features = ngrams(sentence)
        total = self.weights[features].sum(axis=0) / np.sqrt(max(1, len(features)))
        logits: Logits = total + self.bias
        return logits

    def _turn(self, sentences: tuple[str, ...]) -> Logits:
        """Return the logits of a turn: of each act, those of the sentence that carries it best."""
        if not sentences:
            return self.bias
        logits = self.sentence(sentences[0])
        for sentence in sentences[1:]:
            logits = np.maximum(logits, self.sentence(sentence))
        return logits


def train_act_model(
    turns: Sequence[tuple[Sequence[str], frozenset[str]]],
    random: np.random.Generator,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ActModel:
    """Train by AdaGrad on the log loss of each act.

    Args:
        turns: sentences of each turn, without their values, and the acts of the turn.
        random: generator of the order.
        on_progress: called with the number of turns processed, and their number over all epochs.
    """
    features = [[ngrams(sentence) for sentence in sentences or ("",)] for sentences, _ in turns]
    right = np.array([[act in acts for act in ACTS] for _, acts in turns], np.float32)
    weights = np.zeros((1 << BITS, len(ACTS)), np.float32)
    squares = np.full((1 << BITS, len(ACTS)), 1e-4, np.float32)
    bias = np.full(len(ACTS), -2.0, np.float32)
    epochs = max(_EPOCHS, min(_MOST_EPOCHS, _EXAMPLES // len(turns)))
    for epoch in range(epochs):
        order = random.permutation(len(turns))
        for begin in range(0, len(turns), _BATCH):
            batch = order[begin : begin + _BATCH]
            _step(weights, squares, bias, [features[i] for i in batch], right[batch])
            on_progress(epoch * len(turns) + begin + len(batch), epochs * len(turns))
    return ActModel(weights, bias)


def _step(
    weights: NDArray[np.float32],
    squares: NDArray[np.float32],
    bias: Logits,
    turns: Sequence[Sequence[NDArray[np.uint32]]],
    right: NDArray[np.float32],
) -> None:
    """Take one gradient step on a batch."""
    sentences = [sentence for turn in turns for sentence in turn]
    lengths = np.array([len(sentence) for sentence in sentences])
    scale = (1 / np.sqrt(lengths)).astype(np.float32)[:, None]
    flat = np.concatenate(sentences)
    begins = np.cumsum(lengths) - lengths
    logits = np.add.reduceat(weights[flat], begins, axis=0) * scale + bias
    counts = np.array([len(turn) for turn in turns])
    best = np.maximum.reduceat(logits, np.cumsum(counts) - counts, axis=0)
    error = 1 / (1 + np.exp(-best)) - right
    carries = logits == np.repeat(best, counts, axis=0)
    gradient = np.repeat(error, counts, axis=0) * carries * scale
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    first = np.flatnonzero(np.diff(ordered, prepend=np.uint32(0xFFFFFFFF)))
    rows = np.repeat(gradient, lengths, axis=0)[order]
    summed = np.add.reduceat(rows, first, axis=0)
    touched = ordered[first]
    squares[touched] += summed * summed
    weights[touched] -= _RATE * summed / np.sqrt(squares[touched])
    bias -= 0.05 * error.mean(axis=0)
