"""Evaluations and comparisons as the cells of a table, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent_gym_env.evaluation.compare import Comparison
from agent_gym_env.evaluation.evaluate import Evaluation
from agent_gym_env.evaluation.statistics import Difference, Estimate

NOTHING = "-"
"""Cell of a number that does not apply or is not known."""

HEADER = (
    "policy",
    "return",
    "reward",
    "95 % interval",
    "call due",
    "no call",
    "macro",
    "seen",
    "unseen",
    "precision",
    "recall",
    "exact",
    "arg F1",
)

COMPARISON_HEADER = (
    "first",
    "second",
    "difference",
    "95 % interval",
    "p",
    "detectable",
    "dialogues",
    "first is",
)


def rows(evaluations: Iterable[Evaluation]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `HEADER`, one row for each evaluation."""
    return [_row(evaluation) for evaluation in evaluations]


def domain_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, ...]]:
    """Return a row for each domain: its name, then the reward per turn of each evaluation."""
    domains = sorted({domain for evaluation in evaluations for domain in evaluation.domains})
    return [
        (domain, *(_domain_cell(evaluation, domain) for evaluation in evaluations))
        for domain in domains
    ]


def _domain_cell(evaluation: Evaluation, domain: str) -> str:
    estimate = evaluation.domains.get(domain)
    return NOTHING if estimate is None else f"{number(estimate.mean)} ({interval(estimate)})"


def comparison_rows(comparisons: Iterable[Comparison]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `COMPARISON_HEADER`, one row for each comparison."""
    return [_comparison_row(comparison) for comparison in comparisons]


def with_interval(estimate: Estimate) -> tuple[str, str]:
    """Format an estimate: its mean, and its confidence interval."""
    return number(estimate.mean), interval(estimate)


def _row(evaluation: Evaluation) -> tuple[str, ...]:
    splits, tools = evaluation.splits, evaluation.tools
    per_turn = (
        splits["with_due_call"],
        splits["without_due_call"],
        evaluation.macro_reward,
        splits["seen"],
        splits["unseen"],
    )
    calls = (tools.precision, tools.recall, tools.exact_match, tools.argument_f1)
    return (
        evaluation.policy,
        number(evaluation.mean_return.mean, digits=2),
        *with_interval(evaluation.reward),
        *(number(estimate.mean) for estimate in (*per_turn, *calls)),
    )


def _comparison_row(comparison: Comparison) -> tuple[str, ...]:
    reward = comparison.reward
    return (
        comparison.first,
        comparison.second,
        signed(reward.difference),
        interval(reward),
        probability(reward.p_value),
        number(reward.minimum_detectable),
        str(reward.dialogues),
        reward.verdict,
    )


def number(value: float | None, *, digits: int = 3) -> str:
    """Format a value."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """Format a difference with its sign."""
    return NOTHING if value is None else f"{value:+.3f}"


def interval(estimate: Estimate | Difference) -> str:
    """Format the ends of a confidence interval, with signs for a difference."""
    if estimate.low is None or estimate.high is None:
        return NOTHING
    sign = "+" if isinstance(estimate, Difference) else ""
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def probability(value: float | None) -> str:
    """Format a p-value; the bootstrap's resamples are too few to resolve values below 0.001."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
