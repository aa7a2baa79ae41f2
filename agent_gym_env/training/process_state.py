"""The random state of the process, which a training changes and restores."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from agent_gym_env.process_wide import SharedChange


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the process's random generators, which libraries seed, when the last run ends."""
    with _random_state.held():
        yield


@contextmanager
def _kept() -> Iterator[None]:
    # The caller has imported it: different trainings get it from different extras.
    torch: Any = sys.modules["torch"]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


_random_state = SharedChange(_kept)
