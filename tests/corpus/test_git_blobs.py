"""The list of SGD's files is read strictly, and content is hashed as git does."""

from __future__ import annotations

import pytest

from agent_gym_env.corpus.download import Blob, git_blob_sha1, parse_blobs, sgd_blobs
from agent_gym_env.errors import DataError

SHA1 = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize(
    ("content", "sha1"),
    [(b"", SHA1), (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a")],
)
def test_the_hash_is_git_hash_object_s(content: bytes, sha1: str) -> None:
    assert git_blob_sha1(content) == sha1


def test_sgd_has_its_splits_its_variants_and_its_licence() -> None:
    paths = [blob.path for blob in sgd_blobs()]
    shards = [path for path in paths if "/dialogues_" in path]
    assert {split: sum(path.startswith(split) for path in shards) for split in _SPLITS} == _SPLITS
    assert sum(path.startswith("sgd_x/data/v") for path in paths) == 15
    assert "LICENSE.txt" in paths


_SPLITS = {"train": 127, "dev": 20, "test": 34}


def test_comments_and_empty_lines_are_left_out() -> None:
    assert parse_blobs(f"# a list\n\n{SHA1}\ta/b.json\n", file="list") == (Blob("a/b.json", SHA1),)


@pytest.mark.parametrize(
    "line",
    [
        f"{SHA1} a.json",
        f"{SHA1}\t",
        f"{SHA1[:-1]}\ta.json",
        f"{SHA1.upper()}\ta.json",
        f"{SHA1}\t/a.json",
        f"{SHA1}\t../a.json",
        f"{SHA1}\ta/../../b.json",
        f"{SHA1}\ta//b.json",
        f"{SHA1}\ta\\b.json",
        f"{SHA1}\tC:a.json",
        f"{SHA1}\ta.json\n{SHA1}\ta.json",
    ],
)
def test_a_list_that_leaves_the_folder_or_its_form_is_refused(line: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_blobs(line, file="list.tsv")
    assert caught.value.file == "list.tsv"
