"""``agent-gym data``, ``import`` and ``synthesize``: make, compile and check corpora."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from agent_gym_env.cli.console import print_json, print_table, progress
from agent_gym_env.cli.settings import CorpusSplits, Download, Import, Synthesize, VerifyData
from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.corpus.download import download, download_archive, install_from, verify_download
from agent_gym_env.corpus.logs.conversation import NOTES
from agent_gym_env.corpus.logs.importing import import_logs
from agent_gym_env.errors import ChecksumError
from agent_gym_env.users.phrase_book import load_or_mine
from agent_gym_env.users.reading.training import load_or_train, teaches

_TWO_ANSWERS = "two_answers_in_one_situation"


class SplitGoals(msgspec.Struct, frozen=True):
    """Goals of the users of one split, which `SGDSim-v0` plays.

    Attributes:
        split: name of the split.
        dialogues: number of dialogues.
        complete: number of dialogues whose goal is complete.
        two_answers: number of dialogues whose user answered one situation in two ways.
        incomplete: reasons by dialogue, for each of the other dialogues.
    """

    split: str
    dialogues: int
    complete: int
    two_answers: int
    incomplete: dict[str, tuple[str, ...]]


class SplitInfo(msgspec.Struct, frozen=True):
    """Contents of one split.

    Attributes:
        split: name of the split.
        dialogues: number of dialogues.
        turns: number of the agent's turns.
        services: number of services.
        unseen_services: number of services that the train split lacks; ``None`` if the corpus has
            no train split.
        tools: number of tools.
        store: path of the compiled file.
        store_bytes: size of the compiled file.
        fingerprint: hash of the source's content.
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


def download_sgd(settings: Download) -> None:
    """Fetch SGD or read it from this machine, and compile it."""
    with progress("SGD") as advance:

        def on_file(_: str, done: int, total: int) -> None:
            advance(done, total)

        if settings.source is not None:
            report = install_from(settings.source, on_file=on_file)
        elif settings.archive:
            report = download_archive(on_file=on_file)
        else:
            report = download(on_file=on_file)
    corpus = open_corpus("sgd")
    for name in corpus.splits():
        if not corpus.store_path(name).exists():
            _built(corpus, name)
    if settings.json:
        print_json(report)
        return
    new, old = len(report.installed), len(report.present)
    print(f"{report.folder}: {new} new files, {old} files were there already")
    if report.missing:
        print(f"{len(report.missing)} files of the whole data set are missing")


def build(settings: CorpusSplits) -> None:
    """Compile splits and print what they hold."""
    _for_each_split(settings, _built)


def info(settings: CorpusSplits) -> None:
    """Print what splits hold."""
    _for_each_split(settings, lambda corpus, name: _split_info(corpus, name))


def _built(corpus: Corpus, name: str) -> SplitInfo:
    with progress(name) as advance:
        corpus.build(name, advance)
    if name == "train":
        with progress("phrases of users") as advance:
            load_or_mine(corpus.split(name), advance)
        if teaches(corpus):
            with progress("reading") as advance:
                load_or_train(corpus, advance)
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


def _for_each_split(settings: CorpusSplits, inform: Callable[[Corpus, str], SplitInfo]) -> None:
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    found = [inform(corpus, name) for name in settings.split or corpus.splits()]
    if settings.json:
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


def verify(settings: VerifyData) -> None:
    """Check files and compiled splits byte by byte, or the goals of their users.

    Raises:
        ChecksumError: a file differs.
    """
    if settings.goals:
        _verify_goals(settings)
        return
    if settings.corpus == "sgd":
        report = verify_download()
        if report.damaged:
            raise ChecksumError(
                f"{len(report.damaged)} files differ from SGD's: {', '.join(report.damaged[:5])}; "
                "to replace them, run: agent-gym data download",
                file=report.folder,
            )
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    checked = list(settings.split or corpus.splits())
    for name in checked:
        corpus.verify(name)
    if settings.json:
        print_json({"intact": checked})
    else:
        print(f"intact: {', '.join(checked)}")


def _verify_goals(settings: VerifyData) -> None:
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    found = [_split_goals(corpus.split(name)) for name in settings.split or corpus.splits()]
    if settings.json:
        print_json(found)
        return
    for goals in found:
        print(
            f"{goals.split}: {goals.complete} of {goals.dialogues} goals are complete "
            f"({goals.complete / max(goals.dialogues, 1):.2%}); {goals.two_answers} dialogues "
            "answer a situation in two ways"
        )
    rows = [
        (goals.split, dialogue_id, ", ".join(problems))
        for goals in found
        for dialogue_id, problems in goals.incomplete.items()
    ]
    if rows:
        print_table(("split", "dialogue", "reasons"), rows, keys=2)


def _split_goals(split: Split) -> SplitGoals:
    problems = {
        dialogue_id: split.goal(index).problems
        for index, dialogue_id in enumerate(split.dialogue_ids())
    }
    incomplete = {dialogue_id: found for dialogue_id, found in problems.items() if found}
    return SplitGoals(
        split=split.name,
        dialogues=len(problems),
        complete=len(problems) - len(incomplete),
        two_answers=sum(_TWO_ANSWERS in found for found in incomplete.values()),
        incomplete=incomplete,
    )


def import_log(settings: Import) -> None:
    """Import a log and print the report."""
    options = {
        name: getattr(settings, name)
        for name in settings.__struct_fields__
        if name not in ("json", "logs", "out")
    }
    with progress("conversations") as advance:
        report = import_logs(
            settings.logs, settings.out, on_progress=lambda done: advance(done, None), **options
        )
    if settings.json:
        print_json(report)
        return
    rows = [
        ("conversations", report.conversations),
        ("turns of the agent", report.turns),
        ("calls", report.calls),
        ("tools", report.tools),
        ("tools without a schema", len(report.without_schema)),
        *((f"conversations in {each.split}", each.conversations) for each in report.splits),
    ]
    if report.near_duplicates is not None:
        near = report.near_duplicates
        rows += [
            ("conversations with a near-duplicate", near.conversations),
            ("moved to keep near-duplicates together", near.moved),
            ("largest group that stays together", near.largest_group),
        ]
        if near.across:
            rows.append(("near-duplicates across the log's own splits", near.across))
    print_table(("", "number"), [(name, f"{value:,}") for name, value in rows], report.log)
    _print_counts("changed in the conversations", report.notes, NOTES)
    redacted = {each.kind: each.places for each in report.redacted or ()}
    _print_counts("replaced by placeholders", redacted)
    if report.left_out:
        header = ("left out because", "conversations", "first", "at")
        found = [
            (each.kind, f"{each.conversations:,}", each.file or "", each.pointer or "")
            for each in report.left_out
        ]
        print_table(header, found)
    if settings.out is not None:
        split = report.splits[0].split
        print(f"look at one with: agent-gym play --corpus {settings.out} --split {split}")


def _print_counts(
    title: str, counts: Mapping[str, int], meaning: Mapping[str, str] | None = None
) -> None:
    if counts:
        rows = [((meaning or {}).get(name, name), f"{count:,}") for name, count in counts.items()]
        print_table((title, "number"), rows)


def synthesize(settings: Synthesize) -> None:
    """Write the generated corpus and print how to use it."""
    from agent_gym_env.synthesis.corpus_synthesis import synthesize_corpus

    summary = synthesize_corpus(
        settings.schema,
        settings.entities,
        settings.out,
        settings.dialogues,
        settings.seed,
        split=settings.split,
    )
    if settings.json:
        print_json(summary)
    else:
        print(
            f"{summary.folder}: {summary.dialogues} dialogues about {summary.services} services. "
            f"Use it with: --corpus {settings.out} --split {settings.split}"
        )
