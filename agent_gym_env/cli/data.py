"""``agent-gym data download | build | info | verify``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent_gym_env.cli.arguments import add_corpus, add_json, add_variant
from agent_gym_env.cli.console import print_json, print_table, progress
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.corpus.download import download, download_archive, install_from, verify_download
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.errors import ChecksumError


class SplitInfo(msgspec.Struct, frozen=True):
    """What there is of one split.

    Attributes:
        split: its name.
        dialogues: how many.
        turns: of the agent.
        services: how many.
        unseen_services: those that train has not; ``None`` without a train split.
        tools: how many.
        store: the compiled file.
        store_bytes: its size.
        fingerprint: of the source's content.
    """

    split: str
    dialogues: int
    turns: int
    services: int
    unseen_services: int | None
    tools: int
    store: str
    store_bytes: int
    fingerprint: str


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    data = commands.add_parser("data", help="get, compile and check corpora")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")

    fetch = actions.add_parser("download", help="fetch SGD from its public repository")
    fetch.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="take it from an archive or folder at hand, complete or not",
    )
    fetch.add_argument("--archive", action="store_true", help="fetch it as one archive")
    add_json(fetch)
    fetch.set_defaults(run=_download)

    for name, run, explanation in (
        ("build", _build, "compile splits into the cache"),
        ("info", _info, "say what a corpus holds"),
        ("verify", _verify, "check files and compiled splits byte by byte"),
    ):
        action = actions.add_parser(name, help=explanation)
        add_corpus(action)
        add_variant(action)
        action.add_argument("--split", choices=SPLITS, action="append", help="default: all")
        add_json(action)
        action.set_defaults(run=run)


def _download(options: argparse.Namespace) -> None:
    with progress("SGD") as advance:

        def on_file(_: str, done: int, total: int) -> None:
            advance(done, total)

        if options.source is not None:
            report = install_from(options.source, on_file=on_file)
        elif options.archive:
            report = download_archive(on_file=on_file)
        else:
            report = download(on_file=on_file)
    corpus = open_corpus("sgd")
    for name in corpus.splits():
        if not corpus.store_path(name).exists():
            _built(corpus, name)
    if options.json:
        print_json(report)
        return
    print(f"{report.folder}: {len(report.installed)} files new, {len(report.present)} were there")
    if report.missing:
        print(f"missing, of the whole data set: {len(report.missing)} files")


def _build(options: argparse.Namespace) -> None:
    _for_each_split(options, _built)


def _info(options: argparse.Namespace) -> None:
    _for_each_split(options, lambda corpus, name: _split_info(corpus, name))


def _built(corpus: Corpus, name: str) -> SplitInfo:
    with progress(name) as advance:
        corpus.build(name, advance)
    return _split_info(corpus, name)


def _split_info(corpus: Corpus, name: str) -> SplitInfo:
    split = corpus.split(name)
    seen = split.seen_services
    path = corpus.store_path(name)
    return SplitInfo(
        split=name,
        dialogues=len(split),
        turns=split.turns,
        services=len(split.services),
        unseen_services=None if seen is None else len(set(split.services) - seen),
        tools=len(split.tools),
        store=str(path),
        store_bytes=path.stat().st_size,
        fingerprint=split.fingerprint,
    )


def _for_each_split(
    options: argparse.Namespace, inform: Callable[[Corpus, str], SplitInfo]
) -> None:
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    found = [inform(corpus, name) for name in options.split or corpus.splits()]
    if options.json:
        print_json(found)
        return
    header = ("split", "dialogues", "turns", "services", "unseen", "tools", "MB", "fingerprint")
    print_table(header, [_row(info) for info in found], corpus.name)
    if found:
        print(f"compiled: {Path(found[0].store).parent.parent}")


def _row(info: SplitInfo) -> tuple[str, ...]:
    unseen = "-" if info.unseen_services is None else str(info.unseen_services)
    return (
        info.split, str(info.dialogues), str(info.turns), str(info.services), unseen,
        str(info.tools), f"{info.store_bytes / 1e6:.1f}", info.fingerprint[:12],
    )  # fmt: skip


def _verify(options: argparse.Namespace) -> None:
    if options.corpus == "sgd":
        report = verify_download()
        if report.damaged:
            raise ChecksumError(
                f"{len(report.damaged)} files differ from SGD's: {', '.join(report.damaged[:5])}; "
                "to replace them, run: agent-gym data download",
                file=report.folder,
            )
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    checked = list(options.split or corpus.splits())
    for name in checked:
        corpus.verify(name)
    if options.json:
        print_json({"intact": checked})
    else:
        print(f"intact: {', '.join(checked)}")
