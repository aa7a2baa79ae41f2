"""The policy that says the same words in every turn: the reward of an agent that does nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.types import Action, Observation
from agent_gym_env.values.words import words

_VOCABULARY = 300
"""Number of the most frequent words that are tried."""


class ConstantPolicy:
    """Answers every turn with one text and calls no tool.

    Args:
        text: reply of every turn; ``""`` for an empty one.
        name: name in reports; by default ``"silent"`` for an empty text, else ``"constant"``.
    """

    def __init__(
        self, text: str = "Is there anything else I can help you with?", *, name: str | None = None
    ) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, not {type(text).__name__}")
        self.text = text
        self.name = name or ("constant" if text else "silent")

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""

    def act(self, observation: Observation) -> Action:
        """Return the text as a reply."""
        return Action(text=self.text)


def silent_policy() -> ConstantPolicy:
    """Make the policy that says nothing and calls no tool."""
    return ConstantPolicy("")


def best_constant_text(replies: Sequence[str], *, max_words: int = 14) -> str:
    """Return words that, as a set, have a high mean Jaccard similarity to replies.

    They are chosen greedily, and are not a sentence. Their reward is nearly the highest that a
    constant reply can earn.

    Args:
        replies: recorded replies, preferably some thousands of the train split.
        max_words: largest number of words; fewer if one more would lower the mean.
    """
    word_sets = [set(words(reply)) for reply in replies]
    frequency = Counter(word for word_set in word_sets for word in word_set)
    vocabulary = [word for word, _ in frequency.most_common(_VOCABULARY)]
    has = np.array(
        [[word in word_set for word in vocabulary] for word_set in word_sets], np.float32
    )
    sizes = np.array([len(word_set) for word_set in word_sets], np.float32)
    chosen = _grow(has.reshape(len(word_sets), len(vocabulary)), sizes, max_words)
    return " ".join(vocabulary[index].decode("utf-8", "surrogatepass") for index in chosen)


def _grow(has: NDArray[np.float32], sizes: NDArray[np.float32], max_words: int) -> list[int]:
    """Add the best column of ``has`` (replies x words) while that raises the mean similarity."""
    chosen: list[int] = []
    shared = np.zeros(len(sizes), np.float32)
    best = 0.0
    while len(chosen) < min(max_words, has.shape[1]):
        shared_with = has + shared[:, None]
        union = sizes[:, None] + len(chosen) + 1 - shared_with
        means = (shared_with / union).mean(axis=0)
        means[chosen] = 0.0
        index = int(means.argmax())
        if means[index] <= best:
            break
        best = float(means[index])
        chosen.append(index)
        shared += has[:, index]
    return chosen
