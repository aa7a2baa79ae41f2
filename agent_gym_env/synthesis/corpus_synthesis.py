"""Writing a corpus of synthetic dialogues from a schema and an entities file."""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.corpus.schema_variants import SchemaVariant
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS, Dialogue, Service
from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.synthesis.generate import DIALOGUES_PER_SHARD, synthesize
from agent_gym_env.synthesis.sources import decode, read_entities, read_schema


class Summary(msgspec.Struct, frozen=True):
    """Summary of a split that was written.

    Attributes:
        folder: folder of the split.
        services: number of services in its schema.
        dialogues: number of dialogues.
    """

    folder: str
    services: int
    dialogues: int


class SplitRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of one split of a corpus.

    Attributes:
        services: names of its services.
        dialogues: number of dialogues.
        seed: seed of all random draws.
    """

    services: list[str]
    dialogues: int
    seed: int


def synthesize_corpus(
    schema: Path, entities: Path, out: Path, dialogues: int, seed: int, *, split: str = "train"
) -> Summary:
    """Write dialogues about the services of a schema as one split of a corpus.

    Args:
        schema: ``schema.json`` in SGD's format.
        entities: entities file, see `docs/guides/synthesis.md`.
        out: folder of the corpus, in which the split gets a folder.
        dialogues: number of dialogues, at least 1.
        seed: seed of all random draws; equal files and seeds give equal bytes.
        split: name of the split.

    Raises:
        DataError: a file is invalid, or has too few values for so many different dialogues.
        StorageError: the split exists already, or cannot be written.
        ValueError: ``split`` is not a split of SGD, or ``dialogues`` is below 1.
    """
    if split not in SPLITS:
        raise ValueError(f"expected one of {', '.join(SPLITS)} as split, found {split!r}")
    services = read_schema(schema)
    known = read_entities(entities, services)
    written = synthesize(services, known, dialogues=dialogues, seed=seed)
    count = write_split(out / split, services, written)
    return Summary(str(out / split), len(services), count)


def build_corpus(sources: Path, out: Path) -> list[Summary]:
    """Write all splits of a corpus and the variants of its schemas, and replace older ones.

    Args:
        sources: a folder with ``schema.json``, ``entities.json`` and ``splits.json`` (a
            `SplitRecipe` by split), and for each schema variant a ``schema_v1.json`` with the
            same services under other names.
        out: folder of the corpus.

    Raises:
        DataError: a file is invalid.
        StorageError: the corpus cannot be written.
    """
    services = read_schema(sources / "schema.json")
    known = read_entities(sources / "entities.json", services)
    recipes = _read_recipes(sources / "splits.json", services)
    summaries = []
    for split, recipe in recipes.items():
        members = _members(services, services, recipe)
        dialogues = synthesize(members, known, dialogues=recipe.dialogues, seed=recipe.seed)
        count = write_split(out / split, members, dialogues, replace=True)
        summaries.append(Summary(str(out / split), len(members), count))
    for variant in SCHEMA_VARIANTS:
        file = sources / f"schema_{variant}.json"
        renamed = SchemaVariant(services, read_schema(file), file=str(file)).services
        for split, recipe in recipes.items():
            folder = out / "sgd_x" / "data" / variant / split
            write_split(folder, _members(services, renamed, recipe), [], replace=True)
    return summaries


def _read_recipes(file: Path, services: Sequence[Service]) -> dict[str, SplitRecipe]:
    recipes = decode(file, dict[str, SplitRecipe])
    names = {service.service_name for service in services}
    for split, recipe in recipes.items():
        if split not in SPLITS:
            raise DataError(
                f"expected one of {', '.join(SPLITS)}", file=str(file), pointer=f"/{split}"
            )
        for index, name in enumerate(recipe.services):
            if name not in names:
                place = f"/{split}/services/{index}"
                raise DataError(f"{name!r} is not in the schema", file=str(file), pointer=place)
    return recipes


def _members(
    services: Sequence[Service], renamed: Sequence[Service], recipe: SplitRecipe
) -> list[Service]:
    """Return the services of a split by the names of a variant, in the order of the schema."""
    pairs = zip(services, renamed, strict=True)
    return [other for service, other in pairs if service.service_name in recipe.services]


def write_split(
    folder: Path,
    services: Sequence[Service],
    dialogues: Iterable[Dialogue],
    *,
    replace: bool = False,
) -> int:
    """Write ``schema.json`` and the shards of a split. The folder appears only when it is complete.

    Args:
        folder: folder of the split, such as ``corpus/train``.
        services: services of the split's schema.
        dialogues: dialogues of the split. Where ids come in order, an id that begins with ``7_``
            puts its dialogue into shard 7, as in SGD; others fill shards of `DIALOGUES_PER_SHARD`.
        replace: whether an existing folder is replaced.

    Returns:
        Number of dialogues that were written.

    Raises:
        StorageError: the folder exists already, or cannot be written.
    """
    count = 0
    with _fresh_folder(folder, replace=replace) as fresh:
        (fresh / "schema.json").write_text(_array(map(_service_text, services)), encoding="ascii")
        for number, members in _shards(dialogues):
            texts = [_dialogue_text(dialogue) for dialogue in members]
            (fresh / f"dialogues_{number:03}.json").write_text(_array(texts), encoding="ascii")
            count += len(texts)
    return count


def _shards(dialogues: Iterable[Dialogue]) -> Iterator[tuple[int, list[Dialogue]]]:
    """Yield shards with their numbers, which increase, so that no shard replaces another."""
    last = -1
    for named, members in groupby(dialogues, key=_shard_of_id):
        at_once = DIALOGUES_PER_SHARD if named is None else None
        while shard := list(islice(members, at_once)):
            last = max(last + 1, 1) if named is None or named <= last else named
            yield last, shard


def _shard_of_id(dialogue: Dialogue) -> int | None:
    numbered = re.match(r"([0-9]{1,9})_", dialogue.dialogue_id)
    return None if numbered is None else int(numbered[1])


@contextmanager
def _fresh_folder(folder: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a temporary folder, and move it to its place when the block ends without an error."""
    if folder.exists() and not replace:
        raise StorageError(f"{folder} exists already: remove it, or choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            fresh = Path(beside, "fresh")
            fresh.mkdir()
            yield fresh
            if folder.exists():
                os.replace(folder, Path(beside, "replaced"))
            os.replace(fresh, folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error


def _array(texts: Iterable[str]) -> str:
    return "[\n" + ",\n".join(texts) + "\n]\n"


def _service_text(service: Service) -> str:
    """Return a service as JSON with one line for each slot and intent, small and readable."""
    head = _json({"service_name": service.service_name, "description": service.description})
    slots = ",\n  ".join(_json(slot) for slot in service.slots)
    intents = ",\n  ".join(_json(intent) for intent in service.intents)
    return f'{head[:-1]},"slots":[\n  {slots}\n ],"intents":[\n  {intents}\n ]}}'


def _dialogue_text(dialogue: Dialogue) -> str:
    """Return a dialogue as JSON with one line for each turn."""
    head = _json({"dialogue_id": dialogue.dialogue_id, "services": dialogue.services})
    turns = ",\n  ".join(_json(turn) for turn in dialogue.turns)
    return f'{head[:-1]},"turns":[\n  {turns}\n ]}}'


def _json(value: object) -> str:
    fields = _without_none(msgspec.to_builtins(value))
    return json.dumps(fields, separators=(",", ":"))


def _without_none(value: Any) -> Any:
    """Remove fields that do not apply, as SGD does, instead of writing null."""
    if isinstance(value, dict):
        return {key: _without_none(it) for key, it in value.items() if it is not None}
    return [_without_none(it) for it in value] if isinstance(value, list) else value


def main() -> None:
    """Build a corpus from a folder of sources."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("sources", type=Path, help="folder with the source files")
    parser.add_argument("out", type=Path, help="folder of the corpus")
    arguments = parser.parse_args()
    for summary in build_corpus(arguments.sources, arguments.out):
        print(f"{summary.folder}: {summary.dialogues} dialogues, {summary.services} services")


if __name__ == "__main__":
    main()
