"""A corpus is found in a folder or an archive, with or without a folder around it."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from agent_gym_env.corpus.sgd_reader import open_source, schema_member
from agent_gym_env.errors import DataError

FILES = {
    "train/schema.json": b"[]",
    "train/dialogues_001.json": b"[1]",
    "train/dialogues_002.json": b"[2]",
    "train/dialogues_010.json": b"[10]",
    "test/schema.json": b"[3]",
    "test/dialogues_1.json": b"[4]",
    "sgd_x/data/v1/test/schema.json": b"[5]",
}


def write(path: Path, kind: str, *, top: str = "", files: dict[str, bytes] = FILES) -> Path:
    if kind == "folder":
        for name, content in files.items():
            (path / top / name).parent.mkdir(parents=True, exist_ok=True)
            (path / top / name).write_bytes(content)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(top + name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(top + name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("kind", "top"),
    [
        ("folder", ""),
        ("zip", ""),
        ("tar.gz", ""),
        ("zip", "dialogues-master/"),
        ("tar.gz", "dialogues-master/"),
        ("zip", "dialogues-master\\"),
    ],
)
def test_splits_shards_and_bytes_are_the_same_wherever_the_corpus_lies(
    tmp_path: Path, kind: str, top: str
) -> None:
    with open_source(write(tmp_path / "corpus", kind, top=top)) as source:
        assert source.splits() == ("train", "test")
        assert source.shards("test") == ("test/dialogues_1.json",)
        assert {name: source.read(name) for name in FILES} == FILES


def test_a_folder_around_a_corpus_is_refused_and_the_corpus_named(tmp_path: Path) -> None:
    write(tmp_path, "folder", top="mine/")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=f"it contains one: use {tmp_path}/mine/"):
        open_source(tmp_path)


def test_shards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"train/dialogues_{n}.json": b"[]" for n in ("10", "2", "001", "9")}
    files["train/schema.json"] = b"[]"
    with open_source(write(tmp_path / "corpus", "folder", files=files)) as source:
        assert source.shards("train") == (
            "train/dialogues_001.json",
            "train/dialogues_2.json",
            "train/dialogues_9.json",
            "train/dialogues_10.json",
        )


def test_files_of_other_names_are_no_shards(tmp_path: Path) -> None:
    names = ["dialogues_.json", "dialogues_1.json.bak", ".dialogues_1.json", "dialogues_a.json"]
    files = {f"train/{name}": b"[]" for name in names} | {"train/schema.json": b"[]"}
    with open_source(write(tmp_path / "corpus", "folder", files=files)) as source:
        assert source.shards("train") == ()


def test_a_split_that_is_not_there_has_no_shards(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "corpus", "zip")) as source:
        assert source.shards("dev") == ()


def test_a_variant_s_schema_lies_where_sgd_x_puts_it(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "corpus", "zip")) as source:
        assert source.has(schema_member("test", "v1"))
        assert not source.has(schema_member("train", "v1"))
        assert schema_member("train") == "train/schema.json"


def test_an_error_names_the_archive_as_the_user_did_and_the_member(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.zip", "zip", top="top/")
    with open_source(path) as source, pytest.raises(DataError) as caught:
        source.read("dev/schema.json")
    assert caught.value.file == f"{path}/top/dev/schema.json" == source.locate("dev/schema.json")


def test_a_mac_s_extra_folder_in_an_archive_does_no_harm(tmp_path: Path) -> None:
    files = {f"corpus/{name}": content for name, content in FILES.items()}
    files["__MACOSX/corpus/train/._schema.json"] = b"\0"
    with open_source(write(tmp_path / "corpus", "zip", files=files)) as source:
        assert source.splits() == ("train", "test")


def test_a_folder_without_a_corpus_is_told_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected train/schema\.json.*it has none"):
        open_source(tmp_path)


def test_two_corpora_side_by_side_are_not_guessed_between(tmp_path: Path) -> None:
    for top in ("a/", "b/"):
        write(tmp_path, "folder", top=top)
    with pytest.raises(DataError, match="several such folders: a/, b/"):
        open_source(tmp_path)


def test_a_folder_or_fifo_in_a_shard_s_place_is_a_data_error(tmp_path: Path) -> None:
    path = write(tmp_path, "folder")
    (path / "train" / "dialogues_003.json").mkdir()
    os.mkfifo(path / "train" / "dialogues_004.json")
    with open_source(path) as source:
        for shard in source.shards("train")[2:4]:
            with pytest.raises(DataError, match="not a regular file"):
                source.read(shard)


def test_the_stamp_is_the_same_for_the_same_files_and_changes_with_any_of_them(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "folder")
    stamps = [open_source(path).stamp(), open_source(path).stamp()]
    for name in FILES:
        os.utime(path / name, ns=(5, 5))
        stamps.append(open_source(path).stamp())
    (path / "train" / "dialogues_011.json").write_bytes(b"[]")
    stamps.append(open_source(path).stamp())
    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == len(stamps) - 1


def test_the_stamp_does_not_change_with_files_that_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, "folder")
    before = open_source(path).stamp()
    (path / "train" / "notes.txt").write_bytes(b"x")
    assert open_source(path).stamp() == before


def test_a_shard_that_vanished_makes_the_stamp_a_data_error(tmp_path: Path) -> None:
    path = write(tmp_path, "folder")
    (path / "train" / "dialogues_003.json").symlink_to(path / "gone")
    with pytest.raises(DataError, match=r"dialogues_003\.json"):
        open_source(path).stamp()


def test_real_sgd_has_three_splits_and_five_variants(sgd_path: Path) -> None:
    with open_source(sgd_path) as source:
        assert source.splits() == ("train", "dev", "test")
        assert all(source.shards(split) for split in source.splits())
        assert all(source.has(schema_member("dev", f"v{n}")) for n in range(1, 6))
