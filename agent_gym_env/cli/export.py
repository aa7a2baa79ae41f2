"""``agent-gym export``: recorded episodes as training rows, tables and data sets."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from agent_gym_env.cli.arguments import add_corpus, add_json, positive
from agent_gym_env.cli.console import print_json, progress
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.errors import DataError
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
from agent_gym_env.rollout.branching import BranchPoint
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_branches, read_episodes, record_kind
from agent_gym_env.storage.files import read_file

_Record = TypeVar("_Record", Episode, BranchPoint)

_PAIR_OPTIONS = PairRule.__struct_fields__
_ROWS, _PAIRS = ("sft", "dpo", "kto", "grpo"), ("dpo", "kto")
_RULE = PairRule()


def _number(text: str) -> float:
    """Read a number that can be compared with others.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number, not {text!r}")
    return number


class _Option(NamedTuple):
    """An option that not every format takes.

    Attributes:
        name: of the option and of its value.
        formats: that take it.
        explanation: for the help.
        arguments: of `argparse`.
    """

    name: str
    formats: tuple[str, ...]
    explanation: str
    arguments: dict[str, Any]

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


_OPTIONS = (
    _Option("min_reward", ("sft", "grpo", "parquet", "minari"),
            "least mean reward of an episode", {"type": _number, "metavar": "R"}),
    _Option("corrected_below", ("sft",),
            "learn, of turns that earned less, what the corpus would have done instead",
            {"type": _number, "metavar": "R"}),
    _Option("min_margin", _PAIRS, f"least difference of rewards; default: {_RULE.min_margin}",
            {"type": _number, "metavar": "R"}),
    _Option("max_pairs", _PAIRS, f"pairs of one state; default: {_RULE.max_pairs}",
            {"type": positive, "metavar": "N"}),
    _Option("ranking", _PAIRS, "policies, the best first, that decide instead of rewards",
            {"nargs": "+", "metavar": "POLICY"}),
    _Option("threshold", ("kto",), "least reward of a good turn; by default pairs make labels",
            {"type": _number, "metavar": "R"}),
    _Option("rules", _ROWS, "a system message of your own; {today} in it is the date",
            {"type": Path, "metavar": "FILE"}),
    _Option("max_bytes", _ROWS, "leave out rows whose line is longer",
            {"type": positive, "metavar": "N"}),
    _Option("leaves", ("minari",), "of the observation; messages and tools take most of the room",
            {"nargs": "+", "metavar": "LEAF"}),
)  # fmt: skip


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser("export", help="write recorded episodes as training data")
    parser.add_argument(
        "episodes", type=Path, nargs="+",
        help="a file of episodes or of branch points, or a folder that `rollout` has collected",
    )  # fmt: skip
    parser.add_argument("--format", choices=tuple(_EXPORTS), required=True)
    parser.add_argument("--out", type=Path, required=True,
                        help="the file to write; the folder for minari")  # fmt: skip
    parser.add_argument("--held-out", nargs="+", choices=SPLITS, default=(), metavar="SPLIT",
                        help="refuse episodes of dialogues that these splits have")  # fmt: skip
    parser.add_argument("--drop-held-out", action="store_true",
                        help="leave them out and write the others")  # fmt: skip
    add_corpus(parser)
    parser.set_defaults(corpus=None)  # to tell a sample that was meant from one that was not
    for option in _OPTIONS:
        explanation = f"{', '.join(option.formats)}: {option.explanation}"
        parser.add_argument(option.flag, help=explanation, **option.arguments)
    add_json(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    _refuse_options_without_effect(options)
    if options.format != "minari" and options.out.is_dir():
        raise ValueError(f"--out {options.out} is a folder: name the file to write")
    tally = Tally()
    _EXPORTS[options.format](options, tally)
    if options.json:
        print_json(tally)
        return
    print(f"{options.out}: {tally.written} rows of {tally.read} records")
    for reason, number in tally.left_out.items():
        print(f"left out, {reason}: {number}")


def _refuse_options_without_effect(options: argparse.Namespace) -> None:
    for option in _OPTIONS:
        if getattr(options, option.name) is None:
            continue
        if options.format not in option.formats:
            formats = " or ".join(option.formats)
            raise ValueError(f"{option.flag} is for --format {formats}, not for {options.format}")
        if option.name in _PAIR_OPTIONS and options.threshold is not None:
            raise ValueError(f"with --threshold no pairs are made: leave {option.flag} away")
    if options.drop_held_out and not options.held_out:
        raise ValueError("--drop-held-out needs the splits: --held-out dev test")


def _export_sft(options: argparse.Namespace, tally: Tally) -> None:
    episodes = _episodes(options, tally)
    below = options.corrected_below
    if below is None:
        rows = conversations(episodes, tally, min_reward=options.min_reward, **_rules(options))
    elif options.min_reward is None:
        rows = corrections(episodes, tally, below=below, **_rules(options))
    else:
        raise ValueError("--corrected-below looks at turns: leave --min-reward away")
    _write_rows(options, rows, tally)


def _export_dpo(options: argparse.Namespace, tally: Tally) -> None:
    _write_rows(options, _pairs(options, tally), tally)


def _export_kto(options: argparse.Namespace, tally: Tally) -> None:
    if options.threshold is None:
        rows = labels_of_pairs(_pairs(options, tally), tally)
    else:
        episodes = _episodes(options, tally)
        rows = labels(episodes, tally, threshold=options.threshold, **_rules(options))
    _write_rows(options, rows, tally)


def _export_grpo(options: argparse.Namespace, tally: Tally) -> None:
    episodes = _episodes(options, tally)
    rows = prompts(episodes, tally, min_reward=options.min_reward, **_rules(options))
    _write_rows(options, rows, tally)


def _export_parquet(options: argparse.Namespace, tally: Tally) -> None:
    from agent_gym_env.export.parquet import write_parquet

    write_parquet(options.out, _archived(options, tally), tally)


def _export_minari(options: argparse.Namespace, tally: Tally) -> None:
    from agent_gym_env.export.minari_dataset import LEAVES, write_minari

    # They are read twice, and counted the second time.
    tallies = iter((Tally(), tally))
    write_minari(
        options.out,
        lambda: _archived(options, next(tallies)),
        tally,
        leaves=options.leaves or LEAVES,
    )


_EXPORTS: dict[str, Callable[[argparse.Namespace, Tally], None]] = {
    "sft": _export_sft,
    "dpo": _export_dpo,
    "kto": _export_kto,
    "grpo": _export_grpo,
    "parquet": _export_parquet,
    "minari": _export_minari,
}


def _write_rows(options: argparse.Namespace, rows: Iterable[msgspec.Struct], tally: Tally) -> None:
    write_rows(options.out, rows, tally, max_bytes=options.max_bytes)


def _pairs(options: argparse.Namespace, tally: Tally) -> Iterator[PreferenceRow]:
    given = {name: getattr(options, name) for name in _PAIR_OPTIONS}
    rule = PairRule(**{name: value for name, value in given.items() if value is not None})
    if record_kind(options.episodes) == "branches":
        points = _read(read_branches, options, tally)
    else:
        points = common_states(_episodes(options, tally))
    return preferences(points, tally, rule=rule, **_rules(options))


def _archived(options: argparse.Namespace, tally: Tally) -> Iterator[Episode]:
    """Read episodes, also such as have not come to their end, unless they must earn something."""
    episodes = _episodes(options, tally)
    if options.min_reward is None:
        return episodes
    return whole_episodes(episodes, tally, min_reward=options.min_reward)


def _episodes(options: argparse.Namespace, tally: Tally) -> Iterator[Episode]:
    if record_kind(options.episodes) == "branches":
        raise DataError(
            "expected episodes, found branch points, which are for --format dpo, and kto without "
            "a threshold",
            file=str(options.episodes[0]),
        )
    return _read(_episodes_of, options, tally)


def _episodes_of(path: Path) -> Iterator[Episode]:
    if path.suffix != ".parquet":
        return read_episodes(path)
    from agent_gym_env.export.parquet import read_parquet

    return read_parquet(path)


def _read(
    read: Callable[[Path], Iterator[_Record]], options: argparse.Namespace, tally: Tally
) -> Iterator[_Record]:
    records = counted((record for path in options.episodes for record in read(path)), tally)
    if options.held_out:
        corpus = open_corpus(options.corpus or "sample")
        held_out = HeldOut(corpus.split(name) for name in options.held_out)
        if options.corpus is None:
            records = _only_of(corpus, records)
        records = without_leaks(records, held_out, tally, drop=options.drop_held_out)
    return _shown(records)


def _only_of(sample: Corpus, records: Iterable[_Record]) -> Iterator[_Record]:
    """Pass records of the sample on: the splits of another corpus are held out only by name."""
    own = {sample.split(name).fingerprint for name in sample.splits()}
    for record in records:
        if record.corpus not in own:
            raise ValueError(
                f"dialogue {record.dialogue_id!r} of {record.split} is not of the sample corpus: "
                "name the corpus whose splits are held out with --corpus"
            )
        yield record


def _shown(records: Iterable[_Record]) -> Iterator[_Record]:
    """Pass records on while a bar counts them."""
    with progress("records") as advance:
        for done, record in enumerate(records, start=1):
            yield record
            advance(done, None)


def _rules(options: argparse.Namespace) -> dict[str, str]:
    """Give the system message as an argument, where one is named."""
    path: Path | None = options.rules
    if path is None:
        return {}
    try:
        return {"rules": read_file(path).decode()}
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the rules: {error}", file=str(path)) from error
