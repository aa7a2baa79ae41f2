from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import Dialogue, Service
from agent_gym_env.errors import StorageError
from agent_gym_env.synthesis.corpus_synthesis import write_split
from agent_gym_env.synthesis.generate import DIALOGUES_PER_SHARD, synthesize
from tests.synthesis.bakery import ENTITIES, SERVICES


def _dialogues(count: int) -> list[Dialogue]:
    return list(synthesize(SERVICES, ENTITIES, dialogues=count, seed=1))


def _breaking(dialogues: list[Dialogue]) -> Iterator[Dialogue]:
    yield from dialogues
    raise KeyboardInterrupt


def test_what_is_written_is_read_again_shard_by_shard(tmp_path: Path) -> None:
    dialogues = _dialogues(DIALOGUES_PER_SHARD + 3)
    assert write_split(tmp_path / "train", SERVICES, dialogues) == len(dialogues)
    names = sorted(file.name for file in (tmp_path / "train").iterdir())
    assert names == ["dialogues_001.json", "dialogues_002.json", "schema.json"]
    shards = [(tmp_path / "train" / name).read_bytes() for name in names[:2]]
    read = [it for shard in shards for it in msgspec.json.decode(shard, type=list[Dialogue])]
    assert read == dialogues
    schema = (tmp_path / "train" / "schema.json").read_bytes()
    assert msgspec.json.decode(schema, type=list[Service]) == SERVICES


def _named(*ids: str) -> list[Dialogue]:
    (dialogue,) = _dialogues(1)
    return [msgspec.structs.replace(dialogue, dialogue_id=each) for each in ids]


@pytest.mark.parametrize(
    ("ids", "shards"),
    [
        (["1_0", "1_1", "7_0"], {"001": ["1_0", "1_1"], "007": ["7_0"]}),
        (["0_0", "00_1"], {"000": ["0_0", "00_1"]}),
        (
            ["mine", "PMUL12.json", "", "a/b", "_3", "\u0663_1"],
            {"001": ["mine", "PMUL12.json", "", "a/b", "_3", "\u0663_1"]},
        ),
        (["1_0", "2_0", "1_1"], {"001": ["1_0"], "002": ["2_0"], "003": ["1_1"]}),
        (["5_0", "x", "6_0"], {"005": ["5_0"], "006": ["x"], "007": ["6_0"]}),
        ([f"{10**30}_1"], {"001": [f"{10**30}_1"]}),
    ],
)
def test_ids_of_any_form_are_written_and_none_is_lost(
    tmp_path: Path, ids: list[str], shards: dict[str, list[str]]
) -> None:
    assert write_split(tmp_path / "train", SERVICES, _named(*ids)) == len(ids)
    found = {
        path.stem.removeprefix("dialogues_"): [
            each["dialogue_id"] for each in json.loads(path.read_bytes())
        ]
        for path in (tmp_path / "train").glob("dialogues_*.json")
    }
    assert found == shards
    assert len(open_corpus(tmp_path).split("train")) == len(ids)


def test_ids_without_a_shard_fill_several(tmp_path: Path) -> None:
    ids = [f"dialogue {number}" for number in range(DIALOGUES_PER_SHARD + 1)]
    write_split(tmp_path / "train", SERVICES, _named(*ids))
    sizes = [len(json.loads(path.read_bytes()))
             for path in sorted((tmp_path / "train").glob("dialogues_*.json"))]  # fmt: skip
    assert sizes == [DIALOGUES_PER_SHARD, 1]


def test_what_does_not_apply_is_left_out_rather_than_null(tmp_path: Path) -> None:
    write_split(tmp_path / "train", SERVICES, _dialogues(3))
    [shard] = (tmp_path / "train").glob("dialogues_*.json")
    text = shard.read_text()
    assert "null" not in text
    frames = [f for d in json.loads(text) for t in d["turns"] for f in t["frames"]]
    assert all(("service_call" in frame) == ("service_results" in frame) for frame in frames)


def test_a_turn_takes_one_line(tmp_path: Path) -> None:
    dialogues = _dialogues(2)
    write_split(tmp_path / "train", SERVICES, dialogues)
    lines = (tmp_path / "train" / "dialogues_001.json").read_text().splitlines()
    assert sum('"speaker"' in line for line in lines) == sum(len(it.turns) for it in dialogues)
    assert max(line.count('"speaker"') for line in lines) == 1


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path / "train", SERVICES, _breaking(_dialogues(2)))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_what_was_there(tmp_path: Path) -> None:
    write_split(tmp_path / "train", SERVICES, _dialogues(2))
    before = (tmp_path / "train" / "dialogues_001.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path / "train", SERVICES, _breaking(_dialogues(1)), replace=True)
    assert (tmp_path / "train" / "dialogues_001.json").read_bytes() == before
    assert [it.name for it in tmp_path.iterdir()] == ["train"]


def test_a_split_is_not_overwritten_unless_asked_for(tmp_path: Path) -> None:
    write_split(tmp_path / "train", SERVICES, _dialogues(DIALOGUES_PER_SHARD + 1))
    with pytest.raises(StorageError, match="exists already"):
        write_split(tmp_path / "train", SERVICES, _dialogues(1))
    write_split(tmp_path / "train", SERVICES, _dialogues(1), replace=True)
    assert not (tmp_path / "train" / "dialogues_002.json").exists()
    assert [it.name for it in tmp_path.iterdir()] == ["train"]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_split(tmp_path / "file" / "train", SERVICES, _dialogues(1))
