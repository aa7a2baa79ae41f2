"""An encoder that needs nothing but numpy: hashed words and pairs of neighbouring words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_SIGN_BIT = 31


class HashingEncoder:
    """Counts a text's n-grams of words in hashed, signed buckets and scales the vector to length 1.

    The hash is CRC-32 of the n-gram in lower case: the same on every machine and in every process.
    The sign, a bit of the hash that does not choose the bucket, lets collisions cancel out on
    average (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009).

    Examples:
        >>> encoder = HashingEncoder(dim=64)
        >>> encoder.encode(["A table for two, please.", ""]).shape
        (2, 64)

    Args:
        dim: length of a vector, 1 to 2**31.
        ngrams: the longest run of words that is counted as one, at least 1.
    """

    def __init__(self, dim: int = 256, *, ngrams: int = 2) -> None:
        if not 1 <= dim <= 2**_SIGN_BIT:
            raise ValueError(f"dim must lie in 1 to 2**{_SIGN_BIT}, not {dim}")
        if ngrams < 1:
            raise ValueError(f"ngrams must be at least 1, not {ngrams}")
        self.dim = dim
        self.ngrams = ngrams

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts; one without words is the zero vector.

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
