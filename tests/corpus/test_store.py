"""A store gives back the sections that were written, or says that it is damaged."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.store import STORE_FORMAT, Header, Store, StoreWriter
from agent_gym_env.errors import StorageError

HEADER = Header(
    format=STORE_FORMAT,
    stamp="s",
    fingerprint="f",
    split="train",
    schema_variant=None,
    dialogues=2,
    turns=3,
    services=("Teas_1",),
    seen_services=None,
)


def write(path: Path, header: Header = HEADER) -> Path:
    with path.open("wb") as file:
        writer = StoreWriter(file)
        assert writer.write(b"abc") == 3
        assert writer.write(b"de") == 5
        writer.end_section("first")
        writer.write(b"")
        writer.end_section("empty")
        writer.write(bytes(range(256)))
        writer.end_section("second")
        writer.finish(header)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "train.store")


def test_sections_are_read_as_they_were_written(path: Path) -> None:
    store = Store(path)
    assert bytes(store.section("first")) == b"abcde"
    assert bytes(store.section("empty")) == b""
    assert bytes(store.section("second")) == bytes(range(256))
    store.verify()


def test_sections_begin_at_multiples_of_eight(path: Path) -> None:
    assert all(section.offset % 8 == 0 for section in Store(path).header.sections.values())


def test_the_header_is_read_as_it_was_written(path: Path) -> None:
    header = Store(path).header
    assert msgspec.structs.replace(header, sections={}) == HEADER
    assert list(header.sections) == ["first", "empty", "second"]


def test_a_changed_byte_is_found_by_whom_it_concerns(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"abcde")] ^= 1
    path.write_bytes(content)
    store = Store(path)
    assert bytes(store.checked("second")) == bytes(range(256))
    for find in (store.verify, lambda: store.checked("first")):
        with pytest.raises(StorageError, match="section 'first' does not match its checksum"):
            find()


def test_a_store_that_is_cut_anywhere_cannot_be_opened(path: Path) -> None:
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(StorageError):
            Store(path)


def test_a_store_with_more_bytes_behind_it_cannot_be_opened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(StorageError, match="magic"):
        Store(path)


def test_another_version_s_store_is_not_read(tmp_path: Path) -> None:
    old = write(tmp_path / "old", msgspec.structs.replace(HEADER, format=STORE_FORMAT + 1))
    with pytest.raises(StorageError, match=f"this version reads {STORE_FORMAT}"):
        Store(old)


@pytest.mark.parametrize("content", [b"", b"AGYMSTR1", b"{}" * 100])
def test_another_file_is_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(StorageError, match=str(tmp_path / "file")):
        Store(tmp_path / "file")


def test_what_is_not_there_or_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StorageError, match="cannot map"):
            Store(path)


def test_damage_says_what_to_do(path: Path) -> None:
    problem = str(Store(path).damage("it is odd"))
    assert str(path) in problem
    assert "it is odd" in problem
    assert "Delete it" in problem
