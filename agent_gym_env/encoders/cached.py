"""An encoder that remembers what it has encoded: most texts of a training run come again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.encoders.base import Encoder


class CachedEncoder:
    """Passes on to another encoder, in one batch, the texts that it has not met lately.

    Examples:
        >>> from agent_gym_env.encoders.hashing import HashingEncoder
        >>> encoder = CachedEncoder(HashingEncoder(dim=8))
        >>> encoder.encode(["Tea, please.", "Tea, please."]).shape
        (2, 8)

    Args:
        encoder: the encoder that does the work; it must give equal vectors for equal texts.
        max_texts: when so many are remembered, the older half is forgotten.
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
            self._learn(new)
        vectors = np.empty((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = known[text]
        if len(known) > self._max_texts:
            self._forget()
        return vectors

    def _learn(self, texts: Sequence[str]) -> None:
        self._known.update(zip(texts, self._encoder.encode(texts), strict=True))

    def _forget(self) -> None:
        for text in list(self._known)[: -(self._max_texts // 2)]:
            del self._known[text]
