"""``agent-gym export``: recorded episodes as training rows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from agent_gym_env.cli.arguments import Subparsers, add_json
from agent_gym_env.cli.console import print_json, tracked
from agent_gym_env.rollout.chat_rows import conversation_row
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.episode_file import read_episodes
from agent_gym_env.rollout.export import write_rows
from agent_gym_env.rollout.selection import Tally, distinct, whole_episodes


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser("export", help="write recorded episodes as training rows")
    parser.add_argument("episodes", type=Path, nargs="+", help="a file of episodes")
    parser.add_argument("--format", choices=("sft",), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--min-reward", type=float, metavar="R",
                        help="leave out episodes whose mean reward is lower")  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    tally = Tally()
    kept = whole_episodes(_episodes(options.episodes), tally, min_reward=options.min_reward)
    rows = map(conversation_row, kept)
    write_rows(options.out, distinct(rows, tally, "messages", "tools"), tally)
    if options.json:
        print_json(tally)
        return
    print(f"{options.out}: {tally.written} rows of {tally.read} episodes")
    for reason, number in tally.left_out.items():
        print(f"left out, {reason}: {number}")


def _episodes(paths: Iterable[Path]) -> Iterator[Episode]:
    read = chain.from_iterable(map(read_episodes, paths))
    return tracked("episodes", lambda *, on_begin: read)
