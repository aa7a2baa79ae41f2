"""Evaluations and comparisons as the cells of a table, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent_gym_env.evaluation.compare import Comparison
from agent_gym_env.evaluation.evaluate import Evaluation
from agent_gym_env.evaluation.simulated import GROUPS, Reliability, SimulatedFigures
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


SIMULATED_HEADER = (
    "policy",
    "success",
    "strict",
    "95 % interval",
    "milestones",
    "return",
    "turns",
    "calls",
    "seen",
    "mixed",
    "unseen",
    "write",
    "no write",
)
"""From ``seen`` on: strict success in each of `GROUPS`."""

USER_HEADER = (
    "policy",
    "not understood",
    "misread",
    "defaults",
    "out of place",
    "corrected",
    "ignored",
    "recorded words",
    "words failed",
    "patience lost",
    "leaves",
)

RELIABILITY_HEADER = (
    "policy",
    "k",
    "n",
    "strict pass^k",
    "95 % interval",
    "strict pass@k",
    "95 % interval",
    "success pass^k",
    "success pass@k",
)

FIGURES_COMPARED_HEADER = ("first", "second", "figure", *COMPARISON_HEADER[2:])


class SimulationTable(NamedTuple):
    """A table of simulated dialogues.

    Attributes:
        title: title of the table.
        header: names of the columns.
        rows: cells of each row.
        keys: number of leading columns that identify a row.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: int = 1


def simulation_tables(evaluations: Sequence[Evaluation]) -> list[SimulationTable]:
    """Return the tables of simulated dialogues; one without rows is left out."""
    tables = [
        SimulationTable(
            "success; strict success by dialogues from seen on",
            SIMULATED_HEADER,
            simulated_rows(evaluations),
        ),
        SimulationTable(
            "the simulated user: shares of turns; patience lost and leaves are per dialogue",
            USER_HEADER,
            user_rows(evaluations),
        ),
        SimulationTable(
            "success in all (pass^k) and in any (pass@k) of k plays, estimated from n plays",
            RELIABILITY_HEADER,
            reliability_rows(evaluations),
            keys=3,
        ),
    ]
    return [each for each in tables if each.rows]


def simulated_rows(evaluations: Iterable[Evaluation]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `SIMULATED_HEADER`, for evaluations of simulations."""
    return [
        _simulated_row(evaluation, evaluation.simulated)
        for evaluation in evaluations
        if evaluation.simulated is not None
    ]


def _simulated_row(evaluation: Evaluation, figures: SimulatedFigures) -> tuple[str, ...]:
    return (
        evaluation.policy,
        number(figures.success.mean),
        *with_interval(figures.strict),
        number(figures.milestones.mean),
        number(evaluation.mean_return.mean),
        number(figures.turns.mean, digits=1),
        number(figures.calls.mean, digits=1),
        *(number(figures.strict_in[group].mean) for group in GROUPS),
    )


def user_rows(evaluations: Iterable[Evaluation]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `USER_HEADER`, for evaluations of simulations."""
    found = [(each.policy, each.simulated.user) for each in evaluations if each.simulated]
    return [
        (
            policy,
            number(user.not_understood.mean),
            number(user.misread.mean),
            number(user.defaults.mean),
            number(user.out_of_place.mean),
            number(user.corrected.mean),
            number(user.ignored.mean),
            number(user.recorded_words.mean),
            number(user.words_failed.mean),
            number(user.patience_lost.mean, digits=2),
            number(user.leaves.mean),
        )
        for policy, user in found
    ]


def reliability_rows(evaluations: Iterable[Evaluation]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `RELIABILITY_HEADER`, one row for each k."""
    return [
        (
            evaluation.policy,
            str(each.k),
            plays(each),
            *with_interval(each.all_strict),
            *with_interval(each.any_strict),
            number(each.all_success.mean),
            number(each.any_success.mean),
        )
        for evaluation in evaluations
        if evaluation.simulated is not None
        for each in evaluation.simulated.reliability
    ]


def plays(reliability: Reliability) -> str:
    """Format the number of plays of a dialogue."""
    if reliability.fewest == reliability.most:
        return str(reliability.most)
    return f"{reliability.fewest} to {reliability.most}"


def rows(evaluations: Iterable[Evaluation]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `HEADER`, one row for each evaluation."""
    return [_row(evaluation) for evaluation in evaluations]


def domain_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, ...]]:
    """Return a row for each domain: its name, then `Evaluation.domains` of each evaluation."""
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


def compared_figures(comparison: Comparison) -> dict[str, Difference]:
    """Return the differences of a comparison of simulated dialogues, the headline first."""
    found = {"strict": comparison.strict, "success": comparison.success}
    known = {name: difference for name, difference in found.items() if difference is not None}
    return {**known, "return": comparison.mean_return}


def figures_compared_rows(comparisons: Iterable[Comparison]) -> list[tuple[str, ...]]:
    """Return the cells of a table under `FIGURES_COMPARED_HEADER`, one row for each figure."""
    return [
        (comparison.first, comparison.second, name, *_difference_cells(difference))
        for comparison in comparisons
        for name, difference in compared_figures(comparison).items()
    ]


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
    return (comparison.first, comparison.second, *_difference_cells(comparison.reward))


def _difference_cells(difference: Difference) -> tuple[str, ...]:
    return (
        signed(difference.difference),
        interval(difference),
        probability(difference.p_value),
        number(difference.minimum_detectable),
        str(difference.dialogues),
        difference.verdict,
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
