"""Writing a self-contained HTML report on policies, with a browser of their episodes.

The page shows text that policies wrote, which must not run as code: the template escapes it, the
script sets text only, and the page's Content-Security-Policy allows that script alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np

from agent_gym_env.evaluation import table
from agent_gym_env.evaluation.compare import Comparison
from agent_gym_env.evaluation.evaluate import Evaluation
from agent_gym_env.evaluation.plots import Interval, Row, histogram_plot, interval_plot
from agent_gym_env.evaluation.showcase import showcase
from agent_gym_env.evaluation.statistics import Estimate
from agent_gym_env.lm.credentials import Scrubber, without_credentials
from agent_gym_env.rollout.episode import Episode, Spending, spent_on
from agent_gym_env.storage.files import written_whole

Evaluated = tuple[Evaluation, Iterable[Episode]]

TitledPlot = tuple[str, str]
"""Title of a plot, and its SVG with all texts escaped."""

_SPLIT_NAMES = {
    "with_due_call": "call due",
    "without_due_call": "no call due",
    "seen": "seen service",
    "unseen": "unseen service",
}

_GROUP_NAMES = {
    "seen": "seen services",
    "mixed": "seen and unseen",
    "unseen": "unseen services",
    "with_write": "with a write",
    "without_write": "without a write",
}


def write_report(
    path: str | Path,
    evaluations: Sequence[Evaluated],
    comparisons: Sequence[Comparison] = (),
    *,
    plots: Sequence[TitledPlot] = (),
    configurations: Sequence[Mapping[str, Any] | None] = (),
    max_episodes: int = 50,
) -> Path:
    """Write the page.

    Args:
        path: path of the file; an existing file is replaced.
        evaluations: evaluation of each policy, with the episodes to choose from. Episodes are
            iterated three times, and few are in memory at once.
        comparisons: comparisons of pairs of the policies.
        plots: additional plots, such as a learning curve, drawn by
            `agent_gym_env.evaluation.plots`.
        configurations: configurations of the policies, in the order of the evaluations; ``None``
            for an unknown one. They are shown without keys and without credentials in addresses.
        max_episodes: number of episodes to embed: the same dialogues for each policy, spread evenly
            from the worst to the best. The page stays below 2 MB, with fewer episodes if need be.

    Returns:
        The path.

    Raises:
        ValueError: ``evaluations`` is empty.
        StorageError: the disk is full or read-only.
    """
    page = render_report(
        evaluations,
        comparisons,
        plots=plots,
        configurations=configurations,
        max_episodes=max_episodes,
    )
    path = Path(path)
    with written_whole(path) as file:
        file.write(page.encode())
    return path


def render_report(
    evaluations: Sequence[Evaluated],
    comparisons: Sequence[Comparison] = (),
    *,
    plots: Sequence[TitledPlot] = (),
    configurations: Sequence[Mapping[str, Any] | None] = (),
    max_episodes: int = 50,
) -> str:
    """Render the page. Equal input gives an equal page; for the arguments see `write_report`."""
    if not evaluations:
        raise ValueError("a report needs at least one evaluation")
    summaries = [evaluation for evaluation, _ in evaluations]
    groups = [episodes for _, episodes in evaluations]
    names = _series_names(summaries)
    is_simulated = all(evaluation.simulated is not None for evaluation in summaries)
    draw = _simulation_plots if is_simulated else _plots
    style, script = asset("report.css"), asset("conversation.js") + asset("report.js")
    return _template().render(
        names=names,
        evaluations=summaries,
        comparisons=comparisons,
        is_simulated=is_simulated,
        plots=[*plots, *draw(summaries, names)],
        histograms=[] if is_simulated else _histograms(summaries, names),
        tables=table.simulation_tables(summaries) if is_simulated else [],
        uses=[model_use(episodes) for episodes in groups],
        configurations=_shown_configurations(configurations, len(names)),
        comparison_plots=[comparison_plot(comparison) for comparison in comparisons],
        style=style,
        script=script,
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
        showcase=showcase(groups, names, max_episodes),
        played=sum(evaluation.counts.episodes for evaluation in summaries),
    )


def _series_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return a name for each evaluation: its policy, with the setting if the policy repeats."""
    policies = [evaluation.policy for evaluation in evaluations]
    return [
        policy
        if policies.count(policy) == 1
        else f"{policy} ({evaluation.setting.split}, {evaluation.setting.reward})"
        for policy, evaluation in zip(policies, evaluations, strict=True)
    ]


class ModelUse(msgspec.Struct, frozen=True):
    """Usage of a policy's language model.

    Attributes:
        models: names of the models that answered.
        spending: completions, tokens and cost.
        latency_s: median seconds from request to answer; ``None`` where no answer was timed.
        slow_latency_s: seconds in which 95 % of the timed answers came.
    """

    models: tuple[str, ...]
    spending: Spending
    latency_s: float | None
    slow_latency_s: float | None


def model_use(episodes: Iterable[Episode]) -> ModelUse | None:
    """Add up the usage of the model behind recorded episodes; ``None`` if no model answered.

    Args:
        episodes: episodes of one policy; read once.
    """
    total, models, latencies = Spending(), dict[str, None](), list[float]()
    steps = (step for episode in episodes for turn in episode.turns for step in turn.steps)
    for step in steps:
        completion = step.action.completion
        if completion is None:
            continue
        total += spent_on([step]) or Spending()
        models.setdefault(completion.model)
        if completion.latency_s is not None:
            latencies.append(completion.latency_s)
    if not total.completions:
        return None
    median, slow = np.quantile(latencies, (0.5, 0.95)).tolist() if latencies else (None, None)
    return ModelUse(tuple(filter(None, models)), total, median, slow)


def _shown_configurations(
    configurations: Sequence[Mapping[str, Any] | None], policies: int
) -> list[str | None]:
    """Return the configurations that have more than a name, as JSON."""
    padded = [*configurations, *[None] * policies][:policies]
    return [
        public_configuration(config) if config and config.keys() - {"name"} else None
        for config in padded
    ]


def public_configuration(config: Mapping[str, Any]) -> str:
    """Format a policy's configuration as JSON, without keys and credentials in addresses."""
    shown = without_credentials(config)
    return Scrubber().all(json.dumps(shown, indent=2, ensure_ascii=False, default=str))


def _plots(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[TitledPlot]:
    """Draw the plots of all policies, each with its title."""
    titled = {
        "Reward per turn": [_turn_rewards(evaluation) for evaluation in evaluations],
        "Reward per turn, by domain": [evaluation.domains for evaluation in evaluations],
        "Parts of the reward": [_parts(evaluation) for evaluation in evaluations],
        "Tool calls": [_tools(evaluation) for evaluation in evaluations],
    }
    return [
        (title, interval_plot(_rows(columns), series=names, name=title))
        for title, columns in titled.items()
    ]


def _simulation_plots(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[TitledPlot]:
    """Draw the plots of simulated dialogues, each with its title."""
    figures = [each.simulated for each in evaluations if each.simulated is not None]
    titled: dict[str, list[dict[str, Estimate]]] = {
        "Success": [
            {"success": each.success, "strict success": each.strict, "milestones": each.milestones}
            for each in figures
        ],
        "Strict success, by dialogues": [
            {_GROUP_NAMES[name]: estimate for name, estimate in each.strict_in.items()}
            for each in figures
        ],
        "Strict success in all of k plays (pass^k)": [
            {f"k = {one.k}, n = {table.plays(one)}": one.all_strict for one in each.reliability}
            for each in figures
        ],
        "Turns of the agent, as the simulated user took them": [
            {
                "not understood": each.user.not_understood,
                "misread": each.user.misread,
                "answered by rule": each.user.defaults,
                "out of place": each.user.out_of_place,
                "corrected": each.user.corrected,
                "ignored": each.user.ignored,
            }
            for each in figures
        ],
    }
    return [
        (title, interval_plot(_rows(columns), series=names, name=title))
        for title, columns in titled.items()
        if any(columns)
    ]


def _turn_rewards(evaluation: Evaluation) -> dict[str, Estimate]:
    splits = {_SPLIT_NAMES[name]: estimate for name, estimate in evaluation.splits.items()}
    return {"all turns": evaluation.reward, **splits, "macro": evaluation.macro_reward}


def _parts(evaluation: Evaluation) -> dict[str, Estimate]:
    parts = {name.replace("_", " "): part for name, part in evaluation.components.items()}
    return {**parts, "words in common": evaluation.response_similarity}


def _tools(evaluation: Evaluation) -> dict[str, Estimate]:
    tools = evaluation.tools
    return {
        "precision": tools.precision,
        "recall": tools.recall,
        "exact match": tools.exact_match,
        "argument F1": tools.argument_f1,
    }


def _rows(columns: Sequence[Mapping[str, Estimate]]) -> list[Row]:
    """Return the estimates of several policies side by side, without rows that all lack."""
    labels = list(dict.fromkeys(label for column in columns for label in column))
    return [
        Row(label, [_interval(column.get(label, Estimate())) for column in columns])
        for label in labels
        if any(label in column and column[label].count for column in columns)
    ]


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.mean, estimate.low, estimate.high)


def _histograms(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[str]:
    highest = max(max(each.histogram) / (sum(each.histogram) or 1) for each in evaluations)
    return [
        histogram_plot(
            evaluation.histogram,
            series=number,
            highest_share=highest,
            name=f"How much turns of {names[number]} earn: number of turns by reward",
        )
        for number, evaluation in enumerate(evaluations)
    ]


def comparison_plot(comparison: Comparison) -> str:
    """Draw the differences of a comparison as an SVG with all texts escaped."""
    is_simulated = comparison.strict is not None
    names = _GROUP_NAMES if is_simulated else _SPLIT_NAMES
    differences = {"all dialogues" if is_simulated else "all turns": comparison.headline} | {
        names[name]: difference for name, difference in comparison.splits.items()
    }
    rows = [
        Row(label, [Interval(each.difference, each.low, each.high)])
        for label, each in differences.items()
        if each.count
    ]
    ends = [abs(end) for row in rows for end in row.intervals[0] if end is not None]
    reach = max([*ends, 0.01]) * 1.1
    pair = f"{comparison.first} minus {comparison.second}"
    name = f"{'Strict success' if is_simulated else 'Reward per turn'}, {pair}"
    return interval_plot(rows, series=[pair], bounds=(-reach, reach), signed=True, name=name)


def asset(name: str) -> str:
    """Return a template, style or script of the page.

    Args:
        name: name of the file in this folder.
    """
    return files("agent_gym_env.evaluation").joinpath(name).read_text(encoding="utf-8")


def csp_hash(inline: str) -> str:
    """Return the hash of an inline style or script for a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()


def _template() -> jinja2.Template:
    return page_templates(jinja2.FunctionLoader(asset)).get_template("report.html")


def page_templates(loader: jinja2.BaseLoader) -> jinja2.Environment:
    """Return an environment of templates that escape what they show and format numbers.

    Args:
        loader: loader of the templates.
    """
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=table.number,
        signed=table.signed,
        interval=table.interval,
        probability=table.probability,
    )
    return environment
