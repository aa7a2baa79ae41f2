"""What the models behind recorded actions took."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agent_gym_env.rollout.episode import StepRecord


class Spending(msgspec.Struct, frozen=True):
    """Completions, and what they took.

    Attributes:
        completions: actions that a model wrote.
        prompt_tokens: where the model told them.
        completion_tokens: where the model told them.
        cost_usd: where the price is known.
        unpriced: completions whose price is not known.
    """

    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.completions + other.completions,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
            self.unpriced + other.unpriced,
        )


def spent_on(steps: Iterable[StepRecord]) -> Spending | None:
    """Add up what steps took; ``None`` if no model wrote any of them."""
    total = Spending()
    for step in steps:
        completion = step.action.completion
        if completion is None:
            continue
        usage, cost_usd = completion.usage, completion.cost_usd
        total += Spending(
            1,
            0 if usage is None else usage.prompt_tokens,
            0 if usage is None else usage.completion_tokens,
            cost_usd or 0.0,
            int(cost_usd is None),
        )
    return total if total.completions else None
