"""What tokens cost, where the library behind a client does not know."""

from __future__ import annotations

import msgspec

from agent_gym_env.types import Usage


class Price(msgspec.Struct, frozen=True):
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
    "gemini-3-flash-preview": Price(0.5, 3.0, 0.05),
    "gemini-2.5-flash": Price(0.3, 2.5, 0.03),
}
"""As https://ai.google.dev/gemini-api/docs/pricing lists them, for prompts up to 200,000 tokens."""
