"""The findings of this folder as rows of words, for a table in a terminal or on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent_gym_env.evaluation.agreement import Agreement
from agent_gym_env.evaluation.audit import Audit
from agent_gym_env.evaluation.compare import Comparison
from agent_gym_env.evaluation.evaluate import Evaluation
from agent_gym_env.evaluation.statistics import Difference, Estimate
from agent_gym_env.evaluation.verify import Verification

NOTHING = "-"
"""Stands where there is no number: nothing applies, or nothing is known."""

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

AGREEMENT_HEADER = ("reply", "judge", "95 % interval", "truth", "recorded preferred", "interval")

VERIFICATION_HEADER = ("dialogue", "turn", "reward", "value", "reason")


def rows(evaluations: Iterable[Evaluation]) -> list[tuple[str, ...]]:
    """Write a row under `HEADER` for each evaluation."""
    return [_row(evaluation) for evaluation in evaluations]


def domain_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, ...]]:
    """Write a row for each domain: its name, then the reward per turn of each evaluation."""
    domains = sorted({domain for evaluation in evaluations for domain in evaluation.domains})
    return [
        (domain, *(_domain_cell(evaluation, domain) for evaluation in evaluations))
        for domain in domains
    ]


def _domain_cell(evaluation: Evaluation, domain: str) -> str:
    estimate = evaluation.domains.get(domain)
    return NOTHING if estimate is None else f"{number(estimate.mean)} ({interval(estimate)})"


def comparison_rows(comparisons: Iterable[Comparison]) -> list[tuple[str, ...]]:
    """Write a row under `COMPARISON_HEADER` for each comparison."""
    return [_comparison_row(comparison) for comparison in comparisons]


def audit_header(audit: Audit) -> tuple[str, ...]:
    """Name the columns of an audit's table."""
    return ("answer", *(title for reward in audit.rewards for title in (reward, "95 % interval")))


def audit_rows(audit: Audit) -> list[tuple[str, ...]]:
    """Write a row under `audit_header` for each way to answer."""
    return [
        (
            row.name,
            *(
                cell
                for reward in audit.rewards
                for cell in _with_interval(row.scores[reward].reward)
            ),
        )
        for row in audit.rows
    ]


def agreement_rows(found: Agreement) -> list[tuple[str, ...]]:
    """Write a row under `AGREEMENT_HEADER` for each way to answer."""
    return [
        (
            row.name,
            *_with_interval(row.judge),
            number(row.truth.mean),
            *_with_interval(row.recorded_preferred),
        )
        for row in found.answers
    ]


def verification_rows(verification: Verification) -> list[tuple[str, ...]]:
    """Write a row under `VERIFICATION_HEADER` for each turn that earns less than 1."""
    return [
        (turn.dialogue_id, str(turn.turn), turn.reward, number(turn.value), turn.reason)
        for turn in verification.short
    ]


def _with_interval(estimate: Estimate) -> tuple[str, str]:
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
        *_with_interval(evaluation.reward),
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
    """Write a value."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """Write a difference with its sign."""
    return NOTHING if value is None else f"{value:+.3f}"


def interval(estimate: Estimate | Difference) -> str:
    """Write the ends of a confidence interval, with signs for a difference."""
    if estimate.low is None or estimate.high is None:
        return NOTHING
    sign = "+" if isinstance(estimate, Difference) else ""
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def probability(value: float | None) -> str:
    """Write a p-value; a bootstrap of some thousands cannot tell small ones apart."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
