"""A self-contained HTML page on what policies earned, with a browser of their episodes.

Policies write what the page shows, so all of it is data: the template escapes, the script sets text
only, and the page's own Content-Security-Policy lets nothing run but that script.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np
from markupsafe import Markup
from msgspec import structs

from agent_gym_env.evaluation import table
from agent_gym_env.evaluation.compare import Comparison
from agent_gym_env.evaluation.evaluate import Evaluation
from agent_gym_env.evaluation.metrics import mean_reward
from agent_gym_env.evaluation.plots import Interval, Row, histogram_plot, interval_plot
from agent_gym_env.evaluation.statistics import Estimate
from agent_gym_env.rollout.episode import Episode

MAX_TEXT_CHARS = 4_000
MAX_DATA_BYTES = 1_500_000

Evaluated = tuple[Evaluation, Sequence[Episode]]

_SPLIT_NAMES = {
    "with_due_call": "call due",
    "without_due_call": "no call due",
    "seen": "seen service",
    "unseen": "unseen service",
}


def write_report(
    path: str | Path,
    evaluations: Sequence[Evaluated],
    comparisons: Sequence[Comparison] = (),
    *,
    max_episodes: int = 50,
) -> Path:
    """Write the page.

    Args:
        path: of the file; replaced when it exists.
        evaluations: of each policy, with the episodes that may be shown.
        comparisons: of pairs of them.
        max_episodes: how many episodes to embed: the same dialogues for each policy, spread evenly
            from the worst to the best. Fewer where they would take more than `MAX_DATA_BYTES`.

    Returns:
        The path.
    """
    page = render_report(evaluations, comparisons, max_episodes=max_episodes)
    path = Path(path)
    path.write_text(page, encoding="utf-8")
    return path


def render_report(
    evaluations: Sequence[Evaluated],
    comparisons: Sequence[Comparison] = (),
    *,
    max_episodes: int = 50,
) -> str:
    """Render the page; the same input gives the same page. The arguments are `write_report`'s."""
    if not evaluations:
        raise ValueError("a report needs at least one evaluation")
    summaries = [evaluation for evaluation, _ in evaluations]
    groups = [episodes for _, episodes in evaluations]
    names = _series_names(summaries)
    data, embedded = _embed(choose_episodes(groups, max_episodes), names)
    style, script = _asset("report.css"), _asset("report.js")
    return _template().render(
        names=names,
        evaluations=summaries,
        comparisons=comparisons,
        plots=_plots(summaries, names),
        histograms=_histograms(summaries),
        comparison_plots=[_comparison_plot(comparison) for comparison in comparisons],
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        data=data,
        embedded=embedded,
        played=sum(map(len, groups)),
    )


def choose_episodes(groups: Sequence[Sequence[Episode]], limit: int) -> list[tuple[int, Episode]]:
    """Choose episodes to look at: of the same dialogues in each group, from the worst to the best.

    Args:
        groups: the episodes of each policy.
        limit: how many to choose in all; at least one of each group is.

    Returns:
        The number of its group beside each episode, worst dialogue first.
    """
    by_dialogue: dict[tuple[str, int | None], list[tuple[int, Episode]]] = defaultdict(list)
    for number, episodes in enumerate(groups):
        for episode in episodes:
            by_dialogue[episode.dialogue_id, episode.seed].append((number, episode))
    ranked = sorted(by_dialogue.values(), key=_worst_first)
    wanted = min(max(limit // len(groups), 1), len(ranked))
    places = np.linspace(0, len(ranked) - 1, wanted).round().astype(int)
    return [chosen for place in places for chosen in ranked[place]]


def _worst_first(played: list[tuple[int, Episode]]) -> tuple[float, str]:
    rewards = [mean_reward(episode) for _, episode in played]
    known = [reward for reward in rewards if reward is not None]
    return (sum(known) / len(known) if known else -1.0), played[0][1].dialogue_id


def _series_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Name each evaluation by its policy, with the setting where policies repeat."""
    policies = [evaluation.policy for evaluation in evaluations]
    return [
        policy
        if policies.count(policy) == 1
        else f"{policy} ({evaluation.setting.split}, {evaluation.setting.reward})"
        for policy, evaluation in zip(policies, evaluations, strict=True)
    ]


def _embed(chosen: Iterable[tuple[int, Episode]], names: Sequence[str]) -> tuple[Markup, int]:
    """Write episodes as JSON that can stand inside a script element, and count them."""
    written: list[dict[str, Any]] = []
    room = MAX_DATA_BYTES
    for number, episode in chosen:
        encoded = msgspec.json.encode(_clip(msgspec.to_builtins(_without_bulk(episode))))
        if len(encoded) <= room:
            room -= len(encoded)
            written.append({"policy": number, "episode": msgspec.Raw(encoded)})
    data = msgspec.json.encode({"policies": names, "shown": written}).decode()
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return Markup(data), len(written)


def _without_bulk(episode: Episode) -> Episode:
    """Leave out what the page does not show: the tools on offer, and raw completions."""
    turns = tuple(
        structs.replace(
            turn,
            steps=tuple(
                structs.replace(step, action=structs.replace(step.action, completion=None))
                for step in turn.steps
            ),
        )
        for turn in episode.turns
    )
    return structs.replace(episode, tools="[]", turns=turns)


def _clip(value: Any) -> Any:
    """Shorten every string inside a JSON value, and make each one encodable."""
    if isinstance(value, str):
        clipped = value.encode("utf-8", "replace").decode()
        left_out = len(clipped) - MAX_TEXT_CHARS
        return clipped if left_out <= 0 else f"{clipped[:MAX_TEXT_CHARS]} … ({left_out} more)"
    if isinstance(value, dict):
        return {_clip(key): _clip(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clip(item) for item in value]
    return value


def _plots(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[tuple[str, Markup]]:
    """Draw the plots that show every policy, each with its title."""
    titled = {
        "Reward per turn": [_turn_rewards(evaluation) for evaluation in evaluations],
        "Reward per turn, by domain": [evaluation.domains for evaluation in evaluations],
        "Parts of the reward": [_parts(evaluation) for evaluation in evaluations],
        "Tool calls": [_tools(evaluation) for evaluation in evaluations],
    }
    return [
        (title, Markup(interval_plot(_rows(columns), series=names)))
        for title, columns in titled.items()
    ]


def _turn_rewards(evaluation: Evaluation) -> dict[str, Estimate]:
    splits = {_SPLIT_NAMES[name]: estimate for name, estimate in evaluation.splits.items()}
    return {"all turns": evaluation.reward, **splits, "call and no call": evaluation.macro_reward}


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
    """Lay the estimates of several policies side by side; a row that none of them has is left out."""
    labels = list(dict.fromkeys(label for column in columns for label in column))
    return [
        Row(label, [_interval(column.get(label, Estimate())) for column in columns])
        for label in labels
        if any(label in column and column[label].count for column in columns)
    ]


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.mean, estimate.low, estimate.high)


def _histograms(evaluations: Sequence[Evaluation]) -> list[Markup]:
    highest = max(max(each.histogram) / (sum(each.histogram) or 1) for each in evaluations)
    return [
        Markup(histogram_plot(evaluation.histogram, series=number, highest_share=highest))
        for number, evaluation in enumerate(evaluations)
    ]


def _comparison_plot(comparison: Comparison) -> Markup:
    differences = {"all turns": comparison.reward} | {
        _SPLIT_NAMES[name]: difference for name, difference in comparison.splits.items()
    }
    rows = [
        Row(label, [Interval(each.difference, each.low, each.high)])
        for label, each in differences.items()
        if each.count
    ]
    ends = [abs(end) for row in rows for end in row.intervals[0] if end is not None]
    reach = max([*ends, 0.01]) * 1.1
    pair = f"{comparison.first} minus {comparison.second}"
    return Markup(interval_plot(rows, series=[pair], bounds=(-reach, reach), signed=True))


def _asset(name: str) -> str:
    return files("agent_gym_env.evaluation").joinpath(name).read_text(encoding="utf-8")


def _csp_hash(inline: str) -> str:
    """Name an inline style or script in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=table.number,
        signed=table.signed,
        interval=table.interval,
        probability=table.probability,
    )
    return environment.from_string(_asset("report.html"))
