"""Limits of a completion, waiting between its tries, and breakers that stop a hopeless run.

A breaker raises `CircuitOpenError` when requests in a row are refused, failed or not received.
"""

from __future__ import annotations

import random

import msgspec

from agent_gym_env.errors import CircuitOpenError
from agent_gym_env.lm.transport import Failure, causes

REFUSALS = 10
"""Number of refused keys in a row that opens `KeyBreaker`."""

FAILED_COMPLETIONS = 10
"""Number of completions in a row that fail with server errors, which opens `ErrorBreaker`."""

CONNECTION_FAILURES = 5
"""Number of failures in a row after which a server counts as down."""

_NO_CONNECTION = frozenset(
    ("ConnectionError", "gaierror", "ClientConnectionError", "TransportError", "ConnectTimeout")
)
"""Names of the errors of Python, aiohttp, httpx and requests of a server that cannot be reached."""
_BROKEN_ANSWER = "ClientPayloadError"
"""Name of aiohttp's error for an answer that began and broke off."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of each completion.

    Attributes:
        deadline_s: most seconds from the first request to the answer or error, including waits.
        attempt_timeout_s: most seconds of one request.
        max_attempts: most requests for one completion.
        concurrency: most completions under way at once; the time of those that wait has not begun.
        backoff_s: upper end of the range of the first wait; it doubles with each further wait.
        max_backoff_s: largest upper end of that range.
        max_retry_after_s: longest wait that a provider can ask for.
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
        limits: limits of the completion.
        failure: failure of the last request.
        attempts: number of requests so far, at least 1.
    """
    most = min(limits.max_backoff_s, limits.backoff_s * 2 ** (attempts - 1))
    asked = min(failure.retry_after_s or 0.0, limits.max_retry_after_s)
    # Clients that failed at the same time must not try again at the same time.
    return asked + random.uniform(0.0, most)


class KeyBreaker:
    """Counter of refused keys in a row. It opens at `REFUSALS` and stays open.

    Args:
        name: name of the model, for the message.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._refusals = 0

    def check(self) -> None:
        """Raise if the breaker is open.

        Raises:
            CircuitOpenError: the key has been refused too often.
        """
        if self._refusals >= REFUSALS:
            raise CircuitOpenError(
                f"{self._name} refused the key {self._refusals} times in a row; check the key, its "
                "environment variable, the account and the provider's permissions, then start again"
            )

    def record(self, *, refused: bool) -> None:
        """Count one outcome: whether the key was refused."""
        self._refusals = self._refusals + 1 if refused else 0


class ErrorBreaker:
    """Counter of completions in a row that failed because the server answers with errors only.

    It opens at `FAILED_COMPLETIONS`: a rate limit that is exhausted for the day, or a proxy whose
    server is down, fails every episode. While it is open every failing completion raises, and an
    answer closes it.

    Args:
        name: name of the model, for the message.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._given_up = 0

    def answered(self) -> None:
        """Record an answer of the model."""
        self._given_up = 0

    def gave_up(self, status: int | None, reason: str) -> None:
        """Record a completion without a further try.

        Args:
            status: HTTP status of the last failure; ``None`` if it had none.
            reason: reason of the last failure.

        Raises:
            CircuitOpenError: too many completions in a row have failed.
        """
        if status is None or status < 400:
            return
        self._given_up += 1
        if self._given_up >= FAILED_COMPLETIONS:
            raise CircuitOpenError(
                f"{self._name} answered {self._given_up} completions in a row with errors only, "
                f"the last with HTTP {status}: {reason}; start again when it answers"
            )


class ConnectionBreaker:
    """Counter of connection failures in a row, over all completions of a client.

    It opens when a completion gives up after `CONNECTION_FAILURES` or more of them. A server that
    restarts while many requests are under way does not open it, as long as one of their further
    tries is answered. While it is open each completion is tried once, and an answer closes it.

    Args:
        name: name of the model, for the message.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0
        self._is_open = False

    def record(self, *, reached: bool) -> None:
        """Count one outcome: whether the server answered at all."""
        self._failures = 0 if reached else self._failures + 1
        self._is_open = self._is_open and not reached

    def check(self, reason: str, *, gives_up: bool) -> None:
        """Raise if the server counts as down.

        Args:
            reason: reason of the last failure.
            gives_up: whether the completion has no further try.

        Raises:
            CircuitOpenError: the server is down.
        """
        if self._failures < CONNECTION_FAILURES:
            return
        self._is_open = self._is_open or gives_up
        if self._is_open:
            raise CircuitOpenError(
                f"{self._name} could not be reached {self._failures} times in a row: {reason}; "
                "check that the server runs and that its address is right, then start again"
            )


def is_unreachable(error: BaseException) -> bool:
    """Return whether an exception of a library means that the server cannot be reached."""
    names = {kind.__name__ for cause in causes(error) for kind in type(cause).__mro__}
    return bool(names & _NO_CONNECTION) and _BROKEN_ANSWER not in names
