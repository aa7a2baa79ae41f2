"""Demonstrations for behaviour cloning, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Demonstrations(NamedTuple):
    """Situations, and what to do in each.

    Attributes:
        vectors: encoded observations, float32, shape ``(n, size)``.
        masks: true for each action that is possible; booleans, shape ``(n, k)``.
        labels: number of the action to take, int64, shape ``(n,)``.
    """

    vectors: NDArray[np.float32]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
