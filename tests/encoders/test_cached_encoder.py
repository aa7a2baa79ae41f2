"""A cached encoder gives what its encoder gives, and asks it no more than it must."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from agent_gym_env.encoders.text import CachedEncoder


class Counting:
    """Encodes a text as its length; notes what it was asked."""

    dim = 1

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode."""
        self.asked.append(list(texts))
        return np.array([[len(text)] for text in texts], np.float32)


def test_the_vectors_are_those_of_the_encoder() -> None:
    encoder = CachedEncoder(Counting())
    assert encoder.encode(["a", "bcd", "a"]).tolist() == [[1], [3], [1]]
    assert encoder.encode([]).shape == (0, 1)


def test_new_texts_are_asked_for_in_one_batch() -> None:
    counting = Counting()
    encoder = CachedEncoder(counting)
    encoder.encode(["a", "b", "a"])
    encoder.encode(["b", "c", "d"])
    encoder.encode(["a"])
    assert counting.asked == [["a", "b"], ["c", "d"]]


def test_no_more_texts_are_remembered_than_allowed() -> None:
    counting = Counting()
    encoder = CachedEncoder(counting, max_texts=4)
    for text in "abcde":
        encoder.encode([text])
    encoder.encode(["e"])
    encoder.encode(["a"])
    assert counting.asked[5:] == [["a"]]


def test_a_batch_larger_than_the_memory_is_still_encoded() -> None:
    encoder = CachedEncoder(Counting(), max_texts=2)
    assert encoder.encode(["a", "bb", "ccc", "a"]).tolist() == [[1], [2], [3], [1]]


def test_the_vectors_are_the_callers_own() -> None:
    encoder = CachedEncoder(Counting())
    encoder.encode(["a"])[:] = 9
    assert encoder.encode(["a"]).tolist() == [[1]]


def test_it_remembers_at_least_two_texts() -> None:
    with pytest.raises(ValueError, match="max_texts must be at least 2, not 1"):
        CachedEncoder(Counting(), max_texts=1)
