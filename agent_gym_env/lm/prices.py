"""What tokens cost, where the library behind a client does not know."""

from __future__ import annotations

import msgspec

from agent_gym_env.types import Usage


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
