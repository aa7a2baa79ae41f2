"""Encoders of texts: the contract, one that needs only numpy, and a cache for any of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_SIGN_BIT = 31


class Encoder(Protocol):
    """Encodes texts as vectors of one length. Texts with similar meaning should lie close together.

    Attributes:
        dim: length of a vector.
    """

    dim: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts.

        Returns:
            float32, shape ``(len(texts), dim)``.
        """


class HashingEncoder:
    """Counts the word n-grams of a text in hashed, signed buckets, scaled to length 1.

    The hash is CRC-32 of the n-gram in lower case: the same on every machine and in every process.
    The sign, a bit of the hash that does not choose the bucket, lets collisions cancel out on
    average (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009).

    Examples:
        >>> encoder = HashingEncoder(dim=64)
        >>> encoder.encode(["A table for two, please.", ""]).shape
        (2, 64)

    Args:
        dim: length of a vector, from 1 to 2**31.
        ngrams: number of words of the longest n-grams, at least 1.
    """

    def __init__(self, dim: int = 256, *, ngrams: int = 2) -> None:
        if not 1 <= dim <= 2**_SIGN_BIT:
            raise ValueError(f"dim must lie in 1 to 2**{_SIGN_BIT}, not {dim}")
        if ngrams < 1:
            raise ValueError(f"ngrams must be at least 1, not {ngrams}")
        self.dim = dim
        self.ngrams = ngrams

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts. A text without words is the zero vector.

        Returns:
            float32, shape ``(len(texts), dim)``; each row has length 1 or 0.
        """
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            self._add(vector, text)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors

    def _add(self, vector: NDArray[np.float32], text: str) -> None:
        hashes = np.array([zlib.crc32(ngram) for ngram in self._ngrams(text)], np.int64)
        signs = 1.0 - 2.0 * (hashes >> _SIGN_BIT)
        buckets = (hashes & (2**_SIGN_BIT - 1)) % self.dim
        vector += np.bincount(buckets, weights=signs, minlength=self.dim)

    def _ngrams(self, text: str) -> list[bytes]:
        words = [word.encode("utf-8", "surrogatepass") for word in _WORD.findall(text.lower())]
        found = list(words)
        for length in range(2, self.ngrams + 1):
            runs = zip(*(words[start:] for start in range(length)), strict=False)
            found.extend(b" ".join(run) for run in runs)
        return found


class CachedEncoder:
    """Encodes each text once: passes only new texts, in one batch, to another encoder.

    Examples:
        >>> encoder = CachedEncoder(HashingEncoder(dim=8))
        >>> encoder.encode(["Tea, please.", "Tea, please."]).shape
        (2, 8)

    Args:
        encoder: encoder that returns equal vectors for equal texts.
        max_texts: number of texts at which the older half is dropped, at least 2.

    Raises:
        ValueError: ``max_texts`` is below 2.
    """

    def __init__(self, encoder: Encoder, *, max_texts: int = 1 << 16) -> None:
        if max_texts < 2:
            raise ValueError(f"max_texts must be at least 2, not {max_texts}")
        self.dim = encoder.dim
        self._encoder = encoder
        self._max_texts = max_texts
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts.

        Returns:
            float32, shape ``(len(texts), dim)``.
        """
        known = self._known
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            self._add(new)
        vectors = np.empty((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = known[text]
        if len(known) > self._max_texts:
            self._drop_older_half()
        return vectors

    def _add(self, texts: Sequence[str]) -> None:
        self._known.update(zip(texts, self._encoder.encode(texts), strict=True))

    def _drop_older_half(self) -> None:
        for text in list(self._known)[: -(self._max_texts // 2)]:
            del self._known[text]
