"""Command: measure every promised speed and size, and print the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd_reader import SGDReader
from benchmarks.rows import ROWS, SPLIT, Bench, Row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--corpus",
        default="sample",
        help="sample, sgd, or a folder or archive in SGD's format; the promises are about SGD",
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, help="measure these only")
    parser.add_argument("--repeats", type=int, default=5, help="the least of so many counts")
    parser.add_argument(
        "--conversations", type=int, default=5000, help="length of the log that is imported"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="agent-gym-bench-") as folder:
        bench = _bench(chosen.corpus, Path(folder), chosen.repeats, chosen.conversations)
        rows = _measure(bench, chosen.only)
    if chosen.json:
        print(json.dumps([{**asdict(row), "holds": row.holds} for row in rows], indent=2))
    else:
        print(_table(rows, chosen.corpus))
    return 0 if all(row.holds for row in rows) else 1


def _bench(corpus: str, folder: Path, repeats: int, conversations: int) -> Bench:
    home = folder / "home"
    os.environ["AGENT_GYM_HOME"] = str(home)
    shards = _shards_only(corpus, folder / "corpus")
    return Bench(shards, home, folder, repeats, conversations)


def _measure(bench: Bench, only: Sequence[str] | None) -> list[Row]:
    rows: list[Row] = []
    for name, measure in ROWS.items():
        if only is None or name in only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows += measure(bench)
    return rows


def _shards_only(corpus: str, target: Path) -> Path:
    """A folder with the one split that is measured: neither side pays for an archive."""
    (target / SPLIT).mkdir(parents=True)
    reader = open_corpus(corpus).reader
    assert isinstance(reader, SGDReader)
    with reader.source as source:
        for member in (f"{SPLIT}/schema.json", *source.shards(SPLIT)):
            (target / member).write_bytes(source.read(member))
    return target


def _table(rows: Sequence[Row], corpus: str) -> str:
    width = max(len(row.what) for row in rows)
    lines = [
        f"corpus {Path(corpus).name}, Python {platform.python_version()}, {platform.machine()}",
        f"{'what':{width}}  {'measured':>12}  {'hold':>10}",
    ]
    for row in rows:
        figure = f"{row.measured:,.3g}" if row.measured < 1000 else f"{row.measured:,.0f}"
        sign = ">=" if row.at_least else "<="
        bound = "of SGD" if row.hold is None else f"{sign} {row.hold:g} {row.unit}"
        verdict = "" if row.holds else "BROKEN"
        line = (
            f"{row.what:{width}}  {figure:>9} {row.unit:2}  {bound:>10}  {verdict:6}  {row.detail}"
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
