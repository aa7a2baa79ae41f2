"""Prices of tokens, and the budget that a run may spend; clients share one."""

from __future__ import annotations

import threading

import msgspec

from agent_gym_env.errors import BudgetExceeded
from agent_gym_env.types import Usage


class Spent(msgspec.Struct, frozen=True):
    """The requests of a run and their cost.

    Attributes:
        calls: number of requests, including failed ones.
        cost_usd: cost of all billed answers whose price is known.
        unpriced_calls: number of answers whose price is unknown.
        prompt_tokens: total tokens of all prompts that were billed.
        completion_tokens: total tokens of all answers that were billed.
    """

    calls: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Budget:
    """Counter of requests and their cost that refuses a request beyond a limit.

    A request reserves its estimated cost before it is sent and settles its true cost afterwards.
    Requests under way at once exceed the limit by at most the sum of their underestimates.

    Args:
        usd: limit in US dollars; ``None`` for no limit.
        calls: limit in requests over the wire; ``None`` for no limit.
        spent: spending of the earlier part of a run that is resumed.
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
        """The spending so far."""
        return self._spent

    def reserve(self, estimate_usd: float) -> bool:
        """Reserve the estimated cost of one request.

        Returns:
            Whether the request may be sent now. If not, other requests have reserved the rest; ask
            again when they have settled.

        Raises:
            BudgetExceeded: the rest of the budget is too small.
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
        """Replace the estimated cost of a reserved request by its true cost.

        Args:
            estimate_usd: cost that was reserved.
            usage: tokens that were billed; ``None`` for none.
            cost_usd: true cost; ``None`` if it is unknown.
        """
        with self._lock:
            spent = self._spent
            # Rounding errors of the sum must not refuse the last call.
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
    """Prices in US dollars for a million tokens.

    Attributes:
        prompt: price of prompt tokens.
        completion: price of completion tokens, including reasoning.
        cached_prompt: price of prompt tokens that the provider has cached; ``None`` for the price
            of ``prompt``.
    """

    prompt: float
    completion: float
    cached_prompt: float | None = None

    def cost_usd(self, usage: Usage, cached_tokens: int = 0) -> float:
        """Return the cost of one answer, given how many prompt tokens the provider had cached."""
        remembered = self.prompt if self.cached_prompt is None else self.cached_prompt
        fresh = usage.prompt_tokens - cached_tokens
        return (
            fresh * self.prompt
            + cached_tokens * remembered
            + usage.completion_tokens * self.completion
        ) / 1e6


FREE = Price(0.0, 0.0)
"""Price of a server that the user runs."""

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
