"""``agent-gym export``: recorded episodes as training rows."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec

from agent_gym_env.cli.arguments import Subparsers, add_corpus, add_json, positive
from agent_gym_env.cli.console import print_json, progress
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.errors import DataError
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.branches import BranchPoint, read_branches
from agent_gym_env.rollout.common_states import common_states
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.episode_file import read_episodes
from agent_gym_env.rollout.export import (
    conversations,
    labels,
    labels_of_pairs,
    preferences,
    prompts,
    write_rows,
)
from agent_gym_env.rollout.leaks import HeldOut, without_leaks
from agent_gym_env.rollout.preferences import PairRule, PreferenceRow
from agent_gym_env.rollout.record_kind import record_kind
from agent_gym_env.rollout.selection import Tally, counted

_Record = TypeVar("_Record", Episode, BranchPoint)


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser("export", help="write recorded episodes as training rows")
    parser.add_argument(
        "episodes", type=Path, nargs="+",
        help="a file of episodes or of branch points, or a folder that `rollout` has collected",
    )  # fmt: skip
    parser.add_argument("--format", choices=tuple(_ROWS), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rules", type=Path, metavar="FILE",
                        help="a system message of your own; {today} in it is the date")  # fmt: skip
    parser.add_argument("--max-bytes", type=positive, metavar="N",
                        help="leave out rows whose line is longer")  # fmt: skip
    _add_choice_of_episodes(parser)
    add_corpus(parser)
    _add_choice_of_pairs(parser)
    add_json(parser)
    parser.set_defaults(run=_export)


def _add_choice_of_episodes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which episodes")
    group.add_argument("--min-reward", type=float, metavar="R",
                       help="sft, grpo: least mean reward of an episode")  # fmt: skip
    group.add_argument("--held-out", nargs="+", choices=SPLITS, default=(), metavar="SPLIT",
                       help="refuse to write rows of dialogues that these splits have")  # fmt: skip
    group.add_argument("--drop-held-out", action="store_true",
                       help="leave such rows out and write the others")  # fmt: skip


def _add_choice_of_pairs(parser: argparse.ArgumentParser) -> None:
    rule = PairRule()
    group = parser.add_argument_group("which pairs (dpo; kto of branch points)")
    group.add_argument("--min-margin", type=float, default=rule.min_margin, metavar="R",
                       help="least difference of the rewards; default: %(default)s")  # fmt: skip
    group.add_argument("--max-pairs", type=positive, default=rule.max_pairs, metavar="N",
                       help="of one state; default: %(default)s")  # fmt: skip
    group.add_argument("--ranking", nargs="+", default=(), metavar="POLICY",
                       help="policies, the best first, that decide instead of rewards")  # fmt: skip
    group.add_argument(
        "--threshold", type=float, default=0.5, metavar="R",
        help="kto of episodes: least reward of a good turn; default: %(default)s",
    )  # fmt: skip


def _export(options: argparse.Namespace) -> None:
    tally = Tally()
    rows = _ROWS[options.format](options, tally, rules=_rules(options.rules))
    write_rows(options.out, rows, tally, max_bytes=options.max_bytes)
    if options.json:
        print_json(tally)
        return
    print(f"{options.out}: {tally.written} rows of {tally.read} records")
    for reason, number in tally.left_out.items():
        print(f"left out, {reason}: {number}")


def _sft(options: argparse.Namespace, tally: Tally, *, rules: str) -> Iterable[msgspec.Struct]:
    episodes = _episodes(options, tally)
    return conversations(episodes, tally, min_reward=options.min_reward, rules=rules)


def _dpo(options: argparse.Namespace, tally: Tally, *, rules: str) -> Iterator[PreferenceRow]:
    rule = PairRule(options.min_margin, options.max_pairs, tuple(options.ranking))
    return preferences(_states(options, tally), tally, rule=rule, rules=rules)


def _kto(options: argparse.Namespace, tally: Tally, *, rules: str) -> Iterable[msgspec.Struct]:
    if record_kind(options.episodes) == "branches":
        return labels_of_pairs(_dpo(options, tally, rules=rules), tally)
    return labels(_episodes(options, tally), tally, threshold=options.threshold, rules=rules)


def _grpo(options: argparse.Namespace, tally: Tally, *, rules: str) -> Iterable[msgspec.Struct]:
    episodes = _episodes(options, tally)
    return prompts(episodes, tally, min_reward=options.min_reward, rules=rules)


_ROWS: dict[str, Callable[..., Iterable[msgspec.Struct]]] = {
    "sft": _sft,
    "dpo": _dpo,
    "kto": _kto,
    "grpo": _grpo,
}


def _states(options: argparse.Namespace, tally: Tally) -> Iterator[BranchPoint]:
    if record_kind(options.episodes) == "branches":
        return _read(read_branches, options, tally)
    return common_states(_episodes(options, tally))


def _episodes(options: argparse.Namespace, tally: Tally) -> Iterator[Episode]:
    return _read(read_episodes, options, tally)


def _read(
    read: Callable[[Path], Iterator[_Record]], options: argparse.Namespace, tally: Tally
) -> Iterator[_Record]:
    records = counted(chain.from_iterable(map(read, options.episodes)), tally)
    if options.held_out:
        corpus = open_corpus(options.corpus)
        held_out = HeldOut(corpus.split(name) for name in options.held_out)
        records = without_leaks(records, held_out, tally, drop=options.drop_held_out)
    return _tracked(records)


def _tracked(records: Iterable[_Record]) -> Iterator[_Record]:
    with progress("records") as advance:
        for done, record in enumerate(records, start=1):
            yield record
            advance(done, None)


def _rules(path: Path | None) -> str:
    if path is None:
        return RULES
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the rules: {error}", file=str(path)) from error
