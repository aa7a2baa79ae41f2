"""How long one completion may take, how often it is tried, and how long it waits in between."""

from __future__ import annotations

import random

import msgspec

from agent_gym_env.lm.wire import Failure


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of each completion.

    Attributes:
        deadline_s: from its first request to its answer or error, waits included.
        attempt_timeout_s: for one request.
        max_attempts: requests for one completion.
        concurrency: completions under way at once; others wait, and their time has not begun.
        backoff_s: the first wait is drawn from 0 to this; each next one from twice as much.
        max_backoff_s: the most that is waited so.
        max_retry_after_s: a provider that asks for more gets this.
    """

    deadline_s: float = 300.0
    attempt_timeout_s: float = 120.0
    max_attempts: int = 5
    concurrency: int = 64
    backoff_s: float = 0.5
    max_backoff_s: float = 20.0
    max_retry_after_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("deadline_s", "attempt_timeout_s", "max_attempts", "concurrency"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("backoff_s", "max_backoff_s", "max_retry_after_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")


def wait_s(limits: Limits, failure: Failure, attempts: int) -> float:
    """Draw how long to wait before the next request: exponential backoff with full jitter.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Args:
        limits: the bounds.
        failure: of the last request.
        attempts: requests so far, at least 1.
    """
    most = min(limits.max_backoff_s, limits.backoff_s * 2 ** (attempts - 1))
    asked = min(failure.retry_after_s or 0.0, limits.max_retry_after_s)
    # Clients that were all sent away at once must not come back at once.
    return asked + random.uniform(0.0, most)
