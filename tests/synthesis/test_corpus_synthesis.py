from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.errors import DataError
from agent_gym_env.synthesis.corpus_synthesis import build_corpus, synthesize_corpus
from tests.synthesis.bakery import ENTITIES, SERVICES

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "schema.json"
    file.write_bytes(msgspec.json.encode(SERVICES))
    return file


@pytest.fixture
def entities(tmp_path: Path) -> Path:
    file = tmp_path / "entities.json"
    file.write_bytes(msgspec.json.encode({"services": ENTITIES}))
    return file


def test_a_schema_of_ones_own_becomes_a_corpus(
    tmp_path: Path, schema: Path, entities: Path
) -> None:
    summary = synthesize_corpus(schema, entities, tmp_path / "out", 5, 1)
    assert (summary.services, summary.dialogues) == (2, 5)
    with open_source(tmp_path / "out") as source:
        assert source.splits() == ("train",)
        assert source.shards("train") == ("train/dialogues_001.json",)


def test_splits_are_written_beside_each_other(tmp_path: Path, schema: Path, entities: Path) -> None:
    for seed, split in enumerate(SPLITS):
        synthesize_corpus(schema, entities, tmp_path / "out", 2, seed, split=split)
    with open_source(tmp_path / "out") as source:
        assert source.splits() == SPLITS


def test_an_unknown_split_is_refused(tmp_path: Path, schema: Path, entities: Path) -> None:
    with pytest.raises(ValueError, match="train, dev, test"):
        synthesize_corpus(schema, entities, tmp_path / "out", 2, 1, split="validation")


def test_the_sample_corpus_is_what_its_sources_give_byte_for_byte(tmp_path: Path) -> None:
    build_corpus(DATA / "sources", tmp_path)
    written = {it.relative_to(tmp_path): it for it in tmp_path.rglob("*.json")}
    shipped = {it.relative_to(DATA / "sample"): it for it in (DATA / "sample").rglob("*.json")}
    assert written.keys() == shipped.keys()
    assert len(written) == len(SPLITS) * (1 + len(SCHEMA_VARIANTS)) + 6
    for name, file in written.items():
        assert file.read_bytes() == shipped[name].read_bytes(), name


@pytest.mark.parametrize(
    ("recipes", "pointer"),
    [
        ({"train": {"services": ["Bakery_9"], "dialogues": 1, "seed": 1}}, "/train/services/0"),
        ({"validation": {"services": ["Bakery_1"], "dialogues": 1, "seed": 1}}, "/validation"),
    ],
)
def test_a_recipe_that_does_not_fit_is_told_with_its_place(
    tmp_path: Path, schema: Path, entities: Path, recipes: object, pointer: str
) -> None:
    (tmp_path / "splits.json").write_text(json.dumps(recipes))
    with pytest.raises(DataError) as caught:
        build_corpus(tmp_path, tmp_path / "out")
    assert caught.value.pointer == pointer
    assert caught.value.file == str(tmp_path / "splits.json")
