"""``agent-gym export``: recorded episodes as training rows, tables and data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent_gym_env.cli.console import print_json, progress
from agent_gym_env.cli.settings import Export
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.errors import DataError
from agent_gym_env.export.atif import trajectories
from agent_gym_env.export.from_episodes import (
    conversations,
    corrections,
    labels,
    prompts,
    whole_episodes,
)
from agent_gym_env.export.leaks import HeldOut, without_leaks
from agent_gym_env.export.preference_pairs import (
    PairRule,
    common_states,
    labels_of_pairs,
    preferences,
)
from agent_gym_env.export.rows import PreferenceRow, Tally, counted, write_rows
from agent_gym_env.export.spans import traces
from agent_gym_env.registry import EXPORTS
from agent_gym_env.rollout.branching import BranchPoint
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_branches, read_episodes, record_kind
from agent_gym_env.storage.files import read_file

_Record = TypeVar("_Record", Episode, BranchPoint)

_PAIRS, _ROWS = ("dpo", "kto"), ("sft", "dpo", "kto", "grpo")
_FORMATS = {
    "min_reward": ("sft", "grpo", "parquet", "minari", "atif", "otel"),
    "corrected_below": ("sft",),
    "min_margin": _PAIRS,
    "max_pairs": _PAIRS,
    "ranking": _PAIRS,
    "threshold": ("kto",),
    "rules": _ROWS,
    "max_bytes": _ROWS,
    "leaves": ("minari",),
    "content": ("otel",),
}
"""Options that not every format takes, and the formats that take each."""


def export(settings: Export) -> None:
    """Write the records, and print how many were left out for which reason.

    Raises:
        ValueError: an option has no effect on this format, or the output is a folder.
    """
    _refuse_options_without_effect(settings)
    if settings.format != "minari" and settings.out.is_dir():
        raise ValueError(f"--out {settings.out} is a folder: name the file to write")
    tally = Tally()
    _write(settings, tally)
    if settings.json:
        print_json(tally)
        return
    print(f"{settings.out}: {tally.written} rows of {tally.read} records")
    for reason, number in tally.left_out.items():
        print(f"left out, {reason}: {number}")


def _write(settings: Export, tally: Tally) -> None:
    context: dict[str, Any] = {"settings": settings, "tally": tally, "out": settings.out}
    if EXPORTS.takes(settings.format, "episodes"):
        context["episodes"] = _archived(settings, tally)
    EXPORTS.make(settings.format, {}, context)


def _refuse_options_without_effect(settings: Export) -> None:
    for name, formats in _FORMATS.items():
        if getattr(settings, name) in (None, False):
            continue
        flag = f"--{name.replace('_', '-')}"
        if settings.format not in formats:
            known = " or ".join(formats)
            raise ValueError(f"{flag} is for --format {known}, not for {settings.format}")
        if name in PairRule.__struct_fields__ and settings.threshold is not None:
            raise ValueError(f"--threshold makes labels without pairs: leave {flag} away")
    if settings.drop_held_out and not settings.held_out:
        raise ValueError("--drop-held-out needs the splits: --held-out dev test")


def export_sft(settings: Export, tally: Tally) -> None:
    """Write conversations to imitate."""
    episodes = _episodes(settings, tally)
    below = settings.corrected_below
    if below is None:
        rows = conversations(episodes, tally, min_reward=settings.min_reward, **_rules(settings))
    elif settings.min_reward is None:
        corpus = settings.corpus or "sample"
        rows = corrections(episodes, tally, below=below, corpus=corpus, **_rules(settings))
    else:
        raise ValueError("--corrected-below looks at turns: leave --min-reward away")
    _write_rows(settings, rows, tally)


def export_dpo(settings: Export, tally: Tally) -> None:
    """Write pairs of a better and a worse message."""
    _write_rows(settings, _pairs(settings, tally), tally)


def export_kto(settings: Export, tally: Tally) -> None:
    """Write messages with labels."""
    if settings.threshold is None:
        rows = labels_of_pairs(_pairs(settings, tally), tally)
    else:
        episodes = _episodes(settings, tally)
        rows = labels(episodes, tally, threshold=settings.threshold, **_rules(settings))
    _write_rows(settings, rows, tally)


def export_grpo(settings: Export, tally: Tally) -> None:
    """Write the situations from which a model plays."""
    episodes = _episodes(settings, tally)
    rows = prompts(episodes, tally, min_reward=settings.min_reward, **_rules(settings))
    _write_rows(settings, rows, tally)


def export_parquet(settings: Export, tally: Tally) -> None:
    """Write episodes as a Parquet table."""
    from agent_gym_env.export.parquet import write_parquet

    write_parquet(settings.out, _archived(settings, tally), tally)


def export_minari(settings: Export, tally: Tally) -> None:
    """Write episodes as a Minari dataset."""
    from agent_gym_env.export.minari_dataset import LEAVES, write_minari

    # They are read twice, and counted the second time.
    tallies = iter((Tally(), tally))
    write_minari(
        settings.out,
        lambda: _archived(settings, next(tallies)),
        tally,
        leaves=settings.leaves or LEAVES,
    )


def export_atif(settings: Export, tally: Tally) -> None:
    """Write episodes as trajectories in the Agent Trajectory Interchange Format."""
    _write_rows(settings, trajectories(_archived(settings, tally), tally), tally)


def export_otel(settings: Export, tally: Tally) -> None:
    """Write episodes as OpenTelemetry traces, in OTLP's JSON."""
    files = (file for path in settings.episodes for file in (path, *path.glob("*.jsonl")))
    ended_at_s = max(file.stat().st_mtime for file in files)
    episodes = _archived(settings, tally)
    rows = traces(episodes, ended_at_s=ended_at_s, content=settings.content)
    _write_rows(settings, rows, tally)


def _write_rows(settings: Export, rows: Iterable[msgspec.Struct], tally: Tally) -> None:
    write_rows(settings.out, rows, tally, max_bytes=settings.max_bytes)


def _pairs(settings: Export, tally: Tally) -> Iterator[PreferenceRow]:
    given = {name: getattr(settings, name) for name in PairRule.__struct_fields__}
    rule = PairRule(**{name: value for name, value in given.items() if value is not None})
    if record_kind(settings.episodes) == "branches":
        points = _read(read_branches, settings, tally)
    else:
        points = common_states(_episodes(settings, tally), tally)
    return preferences(points, tally, rule=rule, **_rules(settings))


def _archived(settings: Export, tally: Tally) -> Iterator[Episode]:
    """Read all episodes, or those whose reward reaches --min-reward."""
    episodes = _episodes(settings, tally)
    if settings.min_reward is None:
        return episodes
    return whole_episodes(episodes, tally, min_reward=settings.min_reward)


def _episodes(settings: Export, tally: Tally) -> Iterator[Episode]:
    if record_kind(settings.episodes) == "branches":
        raise DataError(
            "expected episodes, found branch points, which are for --format dpo, and kto without "
            "a threshold",
            file=str(settings.episodes[0]),
        )
    return _read(_episodes_of, settings, tally)


def _episodes_of(path: Path) -> Iterator[Episode]:
    if path.suffix != ".parquet":
        return read_episodes(path)
    from agent_gym_env.export.parquet import read_parquet

    return read_parquet(path)


def _read(
    read: Callable[[Path], Iterator[_Record]], settings: Export, tally: Tally
) -> Iterator[_Record]:
    records = counted((record for path in settings.episodes for record in read(path)), tally)
    if settings.held_out:
        corpus = open_corpus(settings.corpus or "sample")
        held_out = HeldOut(corpus.split(name) for name in settings.held_out)
        if settings.corpus is None:
            records = _only_of(corpus, records)
        records = without_leaks(records, held_out, tally, drop=settings.drop_held_out)
    return _shown(records)


def _only_of(sample: Corpus, records: Iterable[_Record]) -> Iterator[_Record]:
    """Yield the records of the sample corpus, and refuse others.

    Without --corpus, a split of another corpus would be held out only by its name.
    """
    own = {sample.split(name).fingerprint for name in sample.splits()}
    for record in records:
        if record.corpus not in own:
            raise ValueError(
                f"dialogue {record.dialogue_id!r} of {record.split} is not of the sample corpus: "
                "name the corpus whose splits are held out with --corpus"
            )
        yield record


def _shown(records: Iterable[_Record]) -> Iterator[_Record]:
    """Yield records while a progress bar counts them."""
    with progress("records") as advance:
        for done, record in enumerate(records, start=1):
            yield record
            advance(done, None)


def _rules(settings: Export) -> dict[str, str]:
    """Return the text of the system message as an argument, if --rules names a file."""
    path: Path | None = settings.rules
    if path is None:
        return {}
    try:
        return {"rules": read_file(path).decode()}
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the rules: {error}", file=str(path)) from error
