"""A leaderboard of the results in a folder: a static page, a Markdown file, or JSON.

Results are strangers' files. One that does not match itself is left out and named with the reason,
and what they say is shown as text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import msgspec
import numpy as np

from agent_gym_env.benchmark.check import file_problems
from agent_gym_env.benchmark.manifest import Manifest
from agent_gym_env.benchmark.result import (
    EpisodeOutcome,
    Figures,
    PlayedPolicy,
    Result,
    read_result,
)
from agent_gym_env.benchmark.run import RESULT
from agent_gym_env.envs.render import printable
from agent_gym_env.errors import DataError
from agent_gym_env.evaluation import table
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.plots import Interval, Row, interval_plot
from agent_gym_env.evaluation.report import asset, csp_hash, page_templates
from agent_gym_env.evaluation.statistics import Difference, Estimate, Floats, paired_difference
from agent_gym_env.rollout.episode import Spending
from agent_gym_env.storage.files import written_whole

_MOST_FILES = 10_000
_MOST_IN_A_PLOT = 12
_LONGEST_LABEL = 20
"""Largest number of files that are read, of policies in a plot, and of characters of their names
there."""


class Entry(msgspec.Struct, frozen=True):
    """A result in a table.

    Attributes:
        file: name of the file, relative to the folder.
        label: name of the policy.
        note: note of the result.
        policy: the policy as it was configured.
        figures: figures of the result.
        journal_hash: hash of its journal.
        hash: hash of the result.
        behind: paired difference from the entry above in the figure that ranks them; ``None`` for
            the first, and where turns without a reward differ.
    """

    file: str
    label: str
    note: str
    policy: PlayedPolicy
    figures: Figures
    journal_hash: str
    hash: str
    behind: Difference | None = None


class Board(msgspec.Struct, frozen=True):
    """Table of the results of one benchmark, the best first.

    Attributes:
        manifest: the benchmark; results of another one are never in the same table.
        manifest_hash: its hash.
        entries: results by the figure that ranks them.
    """

    manifest: Manifest
    manifest_hash: str
    entries: tuple[Entry, ...]


class LeftOut(msgspec.Struct, frozen=True):
    """A file that is in no table.

    Attributes:
        file: name of the file, relative to the folder.
        reasons: what is wrong with it.
    """

    file: str
    reasons: tuple[str, ...]


class Leaderboard(msgspec.Struct, frozen=True):
    """The results in a folder.

    Attributes:
        boards: a table for each benchmark, in the order of their names.
        left_out: files that are in no table.
    """

    boards: tuple[Board, ...]
    left_out: tuple[LeftOut, ...]


def read_leaderboard(folder: str | Path) -> Leaderboard:
    """Read the results in a folder: its ``.json`` files, and ``result.json`` of folders in it.

    Hashes, ids, seeds and figures of each are checked. `check_result` also checks the episodes.

    Raises:
        DataError: there is no such folder, it has no such file, or too many.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("expected a folder of results, found none", file=str(folder))
    paths = [*sorted(folder.glob("*.json")), *sorted(folder.glob(f"*/{RESULT}"))]
    if not paths or len(paths) > _MOST_FILES:
        raise DataError(
            f"expected 1 to {_MOST_FILES:,} results (NAME.json or NAME/{RESULT}), found "
            f"{len(paths)}",
            file=str(folder),
        )
    found: defaultdict[str, list[tuple[str, Result]]] = defaultdict(list)
    left_out = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            result = read_result(path)
            problems = file_problems(result)
        except DataError as error:
            problems = [error.problem]
        if problems:
            left_out.append(LeftOut(name, tuple(problems)))
        else:
            found[result.manifest_hash].append((name, result))
    boards = [_board(results) for results in found.values()]
    boards.sort(key=lambda board: (board.manifest.name, board.manifest_hash))
    return Leaderboard(tuple(boards), tuple(left_out))


def write_leaderboard(folder: str | Path, out: str | Path) -> Leaderboard:
    """Write a page about the results in a folder.

    Args:
        folder: folder of the results.
        out: file to write; ``.html`` for a page, ``.md`` for Markdown, ``.json`` for JSON.

    Raises:
        DataError: as in `read_leaderboard`.
        ValueError: the file has another ending.
        StorageError: the disk does not take it.
    """
    path = Path(out)
    writers = {".html": as_html, ".md": as_markdown, ".json": as_json}
    if path.suffix not in writers:
        raise ValueError(f"expected a file that ends in {', '.join(writers)}, not {str(out)!r}")
    leaderboard = read_leaderboard(folder)
    with written_whole(path) as file:
        file.write(writers[path.suffix](leaderboard).encode())
    return leaderboard


def _board(results: Sequence[tuple[str, Result]]) -> Board:
    manifest = results[0][1].manifest
    ranked = sorted(results, key=lambda each: (-_rank(each[1]), each[1].label, each[0]))
    above = [None, *(result for _, result in ranked[:-1])]
    entries = (
        Entry(
            file=name,
            label=result.label,
            note=result.note,
            policy=result.policy,
            figures=result.figures,
            journal_hash=result.journal_hash,
            hash=result.hash,
            behind=None if better is None else _difference(result, better),
        )
        for (name, result), better in zip(ranked, above, strict=True)
    )
    return Board(manifest, results[0][1].manifest_hash, tuple(entries))


def _rank(result: Result) -> float:
    mean = result.figures.estimates[result.manifest.headline].mean
    return -1e18 if mean is None else mean


def _difference(result: Result, better: Result) -> Difference | None:
    """Compare a result with another one, dialogue by dialogue."""
    mine, counts = _sums(result)
    theirs, other_counts = _sums(better)
    if not np.array_equal(counts, other_counts):
        return None
    rng = np.random.default_rng(0)
    return paired_difference(mine, theirs, counts, resamples=RESAMPLES, rng=rng)


def _sums(result: Result) -> tuple[Floats, Floats]:
    """Return the sum of the ranking figure in each dialogue, and the number of its values."""
    trials = result.manifest.trials
    pairs = np.array([_value(result.manifest, each) for each in result.episodes])
    sums = pairs.reshape(-1, trials, 2).sum(axis=1)
    return sums[:, 0], sums[:, 1]


def _value(manifest: Manifest, episode: EpisodeOutcome) -> tuple[float, float]:
    if manifest.is_simulated:
        return float(bool(episode.strict)), 1.0
    known = [each for each in episode.rewards if each is not None]
    return sum(known), float(episode.turns - len(episode.rewards) + len(known))


class BoardTable(NamedTuple):
    """A table as text.

    Attributes:
        title: title of the table.
        header: names of the columns.
        rows: cells of each row; the first is the label.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(board: Board) -> list[BoardTable]:
    """Return the tables of a board: its figures, pass^k, and differences between neighbours."""
    found = [_figures_table(board)]
    ks = range(1, board.manifest.trials + 1) if board.manifest.is_simulated else ()
    if len(ks) > 1:
        title = (
            f"Strict success in all of k plays (pass^k), estimated from {len(ks)} plays of each "
            "dialogue"
        )
        rows = [
            (_cell(entry.label), *(_with_interval(each.strict) for each in entry.figures.pass_all))
            for entry in board.entries
        ]
        found.append(BoardTable(title, ("policy", *(f"pass^{k}" for k in ks)), rows))
    if len(board.entries) > 1:
        found.append(
            BoardTable(
                f"Difference in {board.manifest.headline} from the policy above, on the same "
                "dialogues",
                ("policy", "difference", "95 % interval", "p", "verdict"),
                [_difference_row(entry) for entry in board.entries[1:]],
            )
        )
    return found


_NAMES = {
    "strict": ("strict", "success", "milestones", "seen", "unseen", "turns", "calls", "return"),
    "reward": ("reward", "exact_calls", "seen", "unseen", "calls", "return"),
}
"""Figures in a table, by the one that ranks."""

_DIGITS = {"turns": 1, "calls": 1}
"""Digits after the point of figures that are not shares."""


def _figures_table(board: Board) -> BoardTable:
    first, *others = _NAMES[board.manifest.headline]
    shown = [name.replace("_", " ") for name in others]
    header = ("policy", first, "95 % interval", *shown, "failed", "tokens", "cost", "result")
    rows = []
    for entry in board.entries:
        figures = entry.figures
        means = {name: figures.estimates.get(name, Estimate()).mean for name in others}
        rows.append(
            (
                _cell(entry.label),
                *table.with_interval(figures.estimates[first]),
                *(table.number(mean, digits=_DIGITS.get(name, 3)) for name, mean in means.items()),
                str(figures.failed),
                *_spent(figures.spending),
                entry.hash[:12],
            )
        )
    title = "Seen and unseen: dialogues all or none of whose services train has"
    return BoardTable(title, header, rows)


def _spent(spending: Spending | None) -> tuple[str, str]:
    """Return the tokens and the cost of all episodes as text."""
    if spending is None:
        return table.NOTHING, table.NOTHING
    tokens = f"{spending.prompt_tokens + spending.completion_tokens:,}"
    priced = spending.unpriced < spending.completions
    return tokens, f"${spending.cost_usd:.4f}" if priced else "not known"


def _difference_row(entry: Entry) -> tuple[str, ...]:
    found = entry.behind
    if found is None:
        return (_cell(entry.label), *[table.NOTHING] * 4)
    return (
        _cell(entry.label),
        table.signed(found.difference),
        table.interval(found),
        table.probability(found.p_value),
        found.verdict,
    )


def _with_interval(estimate: Estimate) -> str:
    return f"{table.number(estimate.mean)} ({table.interval(estimate)})"


def _cell(text: str) -> str:
    """Return a stranger's text without characters that steer what shows it."""
    return printable(text)


def facts(board: Board) -> dict[str, str]:
    """Return what a reader has to know about a benchmark, as text by name."""
    manifest = board.manifest
    found = {
        "environment": manifest.env,
        "corpus": f"{manifest.corpus}, {manifest.fingerprint[:12]}",
        "split": manifest.split,
        "schema": manifest.schema_variant or "",
        "dialogues": f"{manifest.dialogue_count:,}",
        "plays of each": str(manifest.trials),
        "reward": _json(manifest.reward),
        "options": _json(manifest.options) if manifest.options else "",
        "most steps": str(manifest.max_episode_steps or ""),
        "manifest": board.manifest_hash[:12],
    }
    return {name: _cell(text) for name, text in found.items() if text}


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def as_json(leaderboard: Leaderboard) -> str:
    """Write a leaderboard as JSON."""
    return msgspec.json.format(msgspec.json.encode(leaderboard), indent=2).decode() + "\n"


def as_markdown(leaderboard: Leaderboard) -> str:
    """Write a leaderboard as Markdown; text of the results cannot add markup to it."""
    lines: list[str] = []
    for board in leaderboard.boards:
        lines += [f"## {_plain(board.manifest.name)}", ""]
        if board.manifest.description:
            lines += [_plain(board.manifest.description), ""]
        lines += [f"- {name}: {_plain(text)}" for name, text in facts(board).items()]
        for each in tables(board):
            lines += ["", f"{_plain(each.title)}:", ""]
            lines += [_line(each.header), "|---" * len(each.header) + "|", *map(_line, each.rows)]
        notes = [f"- {_plain(e.label)}: {_plain(e.note)}" for e in board.entries if e.note]
        lines += ["", *notes, ""] if notes else [""]
    for left_out in leaderboard.left_out:
        lines.append(f"- left out: {_plain(left_out.file)}: {_plain('; '.join(left_out.reasons))}")
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


_ENTITIES = {ord(each): f"&#{ord(each)};" for each in "&|~`"} | {ord("<"): "&lt;", ord(">"): "&gt;"}
"""Characters that not every Markdown escapes by a backslash."""


def _plain(text: str) -> str:
    """Return a text for Markdown: whatever has a meaning there is escaped."""
    return re.sub(r"([\\*_{}\[\]#])", r"\\\1", _cell(text)).translate(_ENTITIES)


_STYLE = """
h3 { margin: 26px 0 10px; }
details.card { margin-bottom: 8px; padding: 12px 20px; overflow-wrap: anywhere; }
summary { color: var(--ink); font-size: 15px; cursor: pointer; }
summary .note { margin-left: 8px; }
dl div { max-width: 100%; overflow-wrap: anywhere; }
"""
"""Style of what the report does not have."""


def as_html(leaderboard: Leaderboard) -> str:
    """Write a leaderboard as a page that needs no other file and runs no script."""
    style = asset("report.css") + _STYLE
    templates = page_templates(jinja2.FunctionLoader(_template))
    return templates.get_template("leaderboard.html").render(
        boards=[
            {
                "name": _cell(board.manifest.name),
                "description": _cell(board.manifest.description),
                "facts": facts(board),
                "tables": tables(board),
                "plots": _plots(board),
                "series": [_short(entry.label) for entry in board.entries[:_MOST_IN_A_PLOT]],
                "policies": [
                    (_cell(entry.label), _cell(entry.note), _shown_policy(entry))
                    for entry in board.entries
                ],
            }
            for board in leaderboard.boards
        ],
        left_out=[
            (_cell(each.file), [_cell(reason) for reason in each.reasons])
            for each in leaderboard.left_out
        ],
        style=style,
        style_hash=csp_hash(style),
    )


def _template(name: str) -> str:
    return files("agent_gym_env.benchmark").joinpath(name).read_text("utf-8")


def _shown_policy(entry: Entry) -> dict[str, str]:
    policy = entry.policy
    found = {
        "configuration": _json(policy.configuration),
        "language models": ", ".join(policy.models),
        "files": _json(policy.files) if policy.files else "",
        "code": _json(policy.code) if policy.code else "",
        "versions": ", ".join(f"{name} {version}" for name, version in policy.versions.items()),
        "journal": entry.journal_hash,
        "result": f"{entry.hash}, {entry.file}",
    }
    return {name: _cell(text) for name, text in found.items() if text}


def _plots(board: Board) -> list[tuple[str, str]]:
    """Draw the ranking figure of each policy, and pass^k; each with a title."""
    entries = board.entries[:_MOST_IN_A_PLOT]
    labels = [_short(entry.label) for entry in entries]
    head = board.manifest.headline
    rows = [
        Row(label, [_interval(entry.figures.estimates[head])])
        for label, entry in zip(labels, entries, strict=True)
    ]
    drawn = [(head, interval_plot(rows, series=[head], bounds=_bounds(rows), name=head))]
    if board.manifest.is_simulated and board.manifest.trials > 1:
        rows = [
            Row(f"k = {k}", [_interval(entry.figures.pass_all[k - 1].strict) for entry in entries])
            for k in range(1, board.manifest.trials + 1)
        ]
        title = "strict pass^k"
        drawn.append((title, interval_plot(rows, series=labels, name=title)))
    return drawn


def _short(label: str) -> str:
    text = _cell(label)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.mean, estimate.low, estimate.high)


def _bounds(rows: Sequence[Row]) -> tuple[float, float]:
    ends = [end for row in rows for each in row.intervals for end in each if end is not None]
    return min([0.0, *ends]), max([1.0, *ends])
