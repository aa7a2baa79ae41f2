"""From schema and entities files to a corpus on disk."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent_gym_env.corpus.schema_variants import SchemaVariant
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS, Service
from agent_gym_env.errors import DataError
from agent_gym_env.synthesis.corpus_writer import write_split
from agent_gym_env.synthesis.generate import synthesize
from agent_gym_env.synthesis.sources import decode, read_entities, read_schema


class Summary(msgspec.Struct, frozen=True):
    """What was written.

    Attributes:
        folder: where the split lies.
        services: how many services its schema has.
        dialogues: how many dialogues were written.
    """

    folder: str
    services: int
    dialogues: int


class SplitRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to write one split of a corpus.

    Attributes:
        services: names of its services.
        dialogues: how many to write.
        seed: of all randomness.
    """

    services: list[str]
    dialogues: int
    seed: int


def synthesize_corpus(
    schema: Path, entities: Path, out: Path, dialogues: int, seed: int, *, split: str = "train"
) -> Summary:
    """Write dialogues about the services of a schema as one split of a corpus.

    Args:
        schema: a ``schema.json`` in SGD's format.
        entities: an entities file, see `docs/guides/synthesis.md`.
        out: the corpus's folder; the split comes below it.
        dialogues: how many to write.
        seed: of all randomness; the same files and seed give the same bytes.
        split: the split's name.

    Raises:
        DataError: a file does not hold what it should, or not enough for so many dialogues.
        StorageError: the split lies there already, or the disk cannot take it.
        ValueError: there is no such split, or no dialogue is asked for.
    """
    if split not in SPLITS:
        raise ValueError(f"expected one of {', '.join(SPLITS)} as split, found {split!r}")
    services = read_schema(schema)
    known = read_entities(entities, services)
    written = synthesize(services, known, dialogues=dialogues, seed=seed)
    count = write_split(out / split, services, written)
    return Summary(str(out / split), len(services), count)


def build_corpus(sources: Path, out: Path) -> list[Summary]:
    """Write all splits of a corpus and the variants of its schemas, in the place of older ones.

    Args:
        sources: a folder with ``schema.json``, ``entities.json`` and ``splits.json`` (a
            `SplitRecipe` by split), and for each schema variant a ``schema_v1.json`` with the
            same services under other names.
        out: the corpus's folder.

    Raises:
        DataError: a file does not hold what it should.
        StorageError: the disk cannot take it.
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
    """The services of a split, under the names of a variant, in the order of the schema."""
    pairs = zip(services, renamed, strict=True)
    return [other for service, other in pairs if service.service_name in recipe.services]


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
