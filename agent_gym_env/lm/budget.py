"""Prices of tokens, and the budget that a run may spend; clients share one."""

from __future__ import annotations

import threading

import msgspec

from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.types import Usage


class Spent(msgspec.Struct, frozen=True):
    """What went over the wire.

    Attributes:
        calls: requests, failed ones included.
        cost_usd: of all that was billed and has a known price.
        unpriced_calls: answers whose price is not known.
        prompt_tokens: of all answers.
        completion_tokens: of all answers.
    """

    calls: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Budget:
    """Counts each request once; refuses the one that would pass a limit.

    A request reserves what it may cost before it is sent, and settles what it did cost after:
    requests under way at once pass the limit by no more than they were underestimated.

    Args:
        usd: limit in US dollars; ``None`` for none.
        calls: limit in requests over the wire; ``None`` for none.
        spent: by the earlier part of a run that is resumed.
    """

    def __init__(
        self, *, usd: float | None = None, calls: int | None = None, spent: Spent | None = None
    ) -> None:
        for name, limit in (("usd", usd), ("calls", calls)):
            if limit is not None and limit < 0:
                raise ValueError(f"{name} must not be negative, not {limit}")
        self.usd = usd
        self.calls = calls
        self._spent = spent or Spent()
        self._reserved_usd = 0.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        """What has been spent so far."""
        return self._spent

    def reserve(self, estimate_usd: float) -> bool:
        """Set aside one request of at most this cost.

        Returns:
            Whether it may be sent now; if not, others have reserved what is left, and it may be
            once they have settled.

        Raises:
            BudgetExceeded: what is spent leaves no room for it.
        """
        with self._lock:
            spent = self._spent
            if self.calls is not None and spent.calls >= self.calls:
                raise BudgetExceeded(f"all {self.calls} calls of the budget are made")
            if self.usd is not None:
                if spent.cost_usd >= self.usd or spent.cost_usd + estimate_usd > self.usd:
                    raise BudgetExceeded(
                        f"${spent.cost_usd:.4f} of the budget of ${self.usd:.4f} is spent, and the "
                        f"next call may cost ${estimate_usd:.4f}"
                    )
                if spent.cost_usd + self._reserved_usd + estimate_usd > self.usd:
                    return False
            self._reserved_usd += estimate_usd
            self._spent = msgspec.structs.replace(spent, calls=spent.calls + 1)
            return True

    def settle(self, estimate_usd: float, usage: Usage | None, cost_usd: float | None) -> None:
        """Put what a reserved request did take in place of what it might have.

        Args:
            estimate_usd: as reserved.
            usage: ``None`` if nothing was billed.
            cost_usd: ``None`` if it is not known.
        """
        with self._lock:
            spent = self._spent
            # Sums of floats leave a rest that would refuse the last call.
            self._reserved_usd = max(0.0, self._reserved_usd - estimate_usd)
            if usage is None:
                return
            self._spent = Spent(
                calls=spent.calls,
                cost_usd=spent.cost_usd + (cost_usd or 0.0),
                unpriced_calls=spent.unpriced_calls + (cost_usd is None),
                prompt_tokens=spent.prompt_tokens + usage.prompt_tokens,
                completion_tokens=spent.completion_tokens + usage.completion_tokens,
            )


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars for a million tokens.

    Attributes:
        prompt: of what is sent.
        completion: of what is written, reasoning included.
        cached_prompt: of what is sent and the provider still remembers; ``None`` for ``prompt``.
    """

    prompt: float
    completion: float
    cached_prompt: float | None = None

    def cost_usd(self, usage: Usage, cached_tokens: int = 0) -> float:
        """Give the cost of one answer, of whose prompt so many tokens were remembered."""
        remembered = self.prompt if self.cached_prompt is None else self.cached_prompt
        fresh = usage.prompt_tokens - cached_tokens
        return (
            fresh * self.prompt
            + cached_tokens * remembered
            + usage.completion_tokens * self.completion
        ) / 1e6


FREE = Price(0.0, 0.0)
"""Of a server of one's own."""

PRICES = {
    "gemini-3-pro-preview": Price(2.0, 12.0, 0.2),
    "gemini-3.1-pro-preview": Price(2.0, 12.0, 0.2),
    "gemini-pro-latest": Price(2.0, 12.0, 0.2),
    "gemini-3.8-flash": Price(0.75, 3.75, 0.075),
    "gemini-3.7-flash": Price(0.75, 3.75, 0.075),
    "gemini-3.6-flash": Price(0.75, 3.75, 0.075),
    "gemini-flash-latest": Price(0.75, 3.75, 0.075),
    "gemini-3.5-flash": Price(1.5, 9.0, 0.15),
    "gemini-3.5-flash-lite": Price(0.3, 2.5, 0.03),
    "gemini-flash-lite-latest": Price(0.3, 2.5, 0.03),
    "gemini-3.1-flash-lite": Price(0.25, 1.5, 0.025),
    "gemini-3-flash-preview": Price(0.5, 3.0, 0.05),
    "gemini-2.5-pro": Price(1.25, 10.0, 0.125),
    "gemini-2.5-flash": Price(0.3, 2.5, 0.03),
    "gemini-2.5-flash-lite": Price(0.1, 0.4, 0.01),
}
"""Prices for prompts up to 200,000 tokens, as of November 2026.

Source: https://ai.google.dev/gemini-api/docs/pricing, as litellm 1.110.2 lists it. The price of
gemini-3.8-flash is halved until 31 December 2026.
"""
