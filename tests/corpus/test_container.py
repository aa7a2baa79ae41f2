"""A folder or an archive gives its files, and a damaged or hostile one a `DataError`."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from agent_gym_env.corpus import container as container_module
from agent_gym_env.corpus.container import Container, open_container
from agent_gym_env.errors import DataError

FILES = {
    "top.json": b"[]",
    "train/schema.json": b'[{"service_name": "Kites_1"}]',
    "train/dialogues_001.json": b"[1, 2, 3]" * 500,
    "train/empty.json": b"",
}


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            archive.addfile(tar_info(name, size=len(content)), io.BytesIO(content))
    return path


def write_tar_gz(path: Path, files: dict[str, bytes]) -> Path:
    return write_tar(path, files, "w:gz")


def tar_info(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, "elsewhere"
    return info


Write = Callable[[Path, dict[str, bytes]], Path]
ARCHIVES = [
    pytest.param(write_zip, id="zip"),
    pytest.param(write_tar, id="tar"),
    pytest.param(write_tar_gz, id="tar.gz"),
]
ALL = [pytest.param(write_folder, id="folder"), *ARCHIVES]


def opened(
    write: Write, tmp_path: Path, files: dict[str, bytes]
) -> AbstractContextManager[Container]:
    return closing(open_container(write(tmp_path / "corpus", files)))


def read(path: Path, member: str) -> bytes:
    with closing(open_container(path)) as container:
        return container.read(member)


def fingerprint(path: Path) -> tuple[object, ...]:
    with closing(open_container(path)) as container:
        return container.fingerprint(FILES)


@pytest.mark.parametrize("write", ALL)
def test_every_file_is_read_as_it_was_written(write: Write, tmp_path: Path) -> None:
    with opened(write, tmp_path, FILES) as container:
        assert {name: container.read(name) for name in FILES} == FILES


@pytest.mark.parametrize("write", ALL)
def test_files_can_be_read_backwards_and_twice(write: Write, tmp_path: Path) -> None:
    with opened(write, tmp_path, FILES) as container:
        for name in [*reversed(FILES), *FILES]:
            assert container.read(name) == FILES[name]


@pytest.mark.parametrize("write", ALL)
def test_children_are_sorted_names_of_files_and_folders(write: Write, tmp_path: Path) -> None:
    with opened(write, tmp_path, FILES) as container:
        assert container.children("") == ("top.json", "train")
        assert container.children("train") == ("dialogues_001.json", "empty.json", "schema.json")
        assert container.children("dev") == ()


@pytest.mark.parametrize("write", ALL)
def test_a_folder_is_not_a_file(write: Write, tmp_path: Path) -> None:
    with opened(write, tmp_path, FILES) as container:
        assert not container.has("train")
        with pytest.raises(DataError):
            container.read("train")


@pytest.mark.parametrize("write", ALL)
def test_a_missing_file_is_named_with_its_container(write: Write, tmp_path: Path) -> None:
    with opened(write, tmp_path, FILES) as container:
        assert not container.has("dev/schema.json")
        with pytest.raises(DataError) as caught:
            container.read("dev/schema.json")
    assert caught.value.file == f"{tmp_path}/corpus/dev/schema.json"


@pytest.mark.parametrize("write", ALL)
def test_a_file_beyond_the_limit_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "corpus", {"big.json": bytes(2000)})
    monkeypatch.setattr(container_module, "MAX_FILE_BYTES", 1999)
    with pytest.raises(DataError, match="2,000 bytes"):
        read(path, "big.json")


@pytest.mark.parametrize("write", ALL)
def test_the_fingerprint_changes_with_the_modification_time(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "corpus", FILES)
    before = fingerprint(path)
    assert fingerprint(path) == before
    touched = path / "top.json" if path.is_dir() else path
    os.utime(touched, ns=(1, 1))
    assert fingerprint(path) != before


def test_the_content_decides_what_kind_of_archive_it_is_not_the_name(tmp_path: Path) -> None:
    path = write_tar_gz(tmp_path / "corpus.zip", FILES)
    assert read(path, "top.json") == b"[]"


def test_names_with_a_leading_dot_folder_are_the_names_without(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "corpus", {"./train/schema.json": b"x"})
    assert read(path, "train/schema.json") == b"x"


@pytest.mark.parametrize("name", ["nothing", "nul\0byte"])
def test_a_path_that_cannot_be_opened_is_a_data_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError):
        open_container(f"{tmp_path}/{name}")


@pytest.mark.parametrize("content", [b"", b"[]", b"PK", b"Rar!\x1a\x07", bytes(600)])
def test_another_kind_of_file_is_told_what_was_expected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "corpus"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"expected a folder, or an archive"):
        open_container(path)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        open_container(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read(tmp_path, "pipe")


def test_a_loop_of_symbolic_links_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    container = open_container(tmp_path)
    assert not container.has("loop")
    with pytest.raises(DataError):
        container.children("loop")
    with pytest.raises(DataError):
        container.read("loop")
    with pytest.raises(DataError):
        container.fingerprint(["loop"])


def test_a_folder_s_own_link_to_a_file_is_followed(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    (tmp_path / "link.json").symlink_to(tmp_path / "top.json")
    assert read(tmp_path, "link.json") == b"[]"


def test_a_sparse_file_of_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DataError, match="1,073,741,824 bytes"):
        read(tmp_path, "sparse.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_data_error(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    (tmp_path / "top.json").chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read(tmp_path, "top.json")


@pytest.mark.parametrize("write", ARCHIVES)
@pytest.mark.parametrize(
    "name", ["../out.json", "train/../../out.json", "/etc/out.json", "C:/out.json", "..\\out.json"]
)
def test_an_archive_with_a_name_that_points_outside_is_refused(
    write: Write, tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / "corpus", {**FILES, name: b"x"})
    with pytest.raises(DataError, match="points outside"):
        open_container(path)


@pytest.mark.parametrize("write", ARCHIVES)
def test_the_separator_of_windows_is_read(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "corpus", {"sgd\\train\\schema.json": b"[]"})
    container = open_container(path)
    assert container.children("sgd/train") == ("schema.json",)
    assert container.read("sgd/train/schema.json") == b"[]"
    container.close()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("write", ARCHIVES)
def test_an_archive_with_two_files_of_one_name_is_refused(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "corpus", {"a.json": b"1", "./a.json": b"2"})
    with pytest.raises(DataError, match="twice"):
        open_container(path)


@pytest.mark.parametrize("write", ARCHIVES)
def test_an_archive_of_too_many_members_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_module, "MAX_FILES", 3)
    path = write(tmp_path / "corpus", FILES)
    with pytest.raises(DataError, match="more than 3 members"):
        open_container(path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_a_tar_with_a_link_or_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "corpus.tar", "w") as archive:
        archive.addfile(tar_info("train/schema.json", kind=kind))
    with pytest.raises(DataError, match="a link or a special file"):
        open_container(tmp_path / "corpus.tar")


def test_a_zip_with_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("train/schema.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "corpus.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="a link or a special file"):
        open_container(tmp_path / "corpus.zip")


def test_a_tar_header_that_promises_a_gigabyte_is_refused_before_it_is_inflated(
    tmp_path: Path,
) -> None:
    with gzip.open(tmp_path / "corpus.tar.gz", "wb") as file:
        file.write(tar_info("train/schema.json", size=2**30).tobuf())
    with pytest.raises(DataError, match="1,073,741,824 bytes"):
        open_container(tmp_path / "corpus.tar.gz")


def test_a_tar_whose_files_are_too_much_together_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_module, "MAX_TAR_BYTES", 100)
    path = write_tar(tmp_path / "corpus", {"a": bytes(60), "b": bytes(60)})
    with pytest.raises(DataError, match="more than 100 bytes"):
        open_container(path)


def test_a_tar_with_a_huge_extended_header_is_refused(tmp_path: Path) -> None:
    header = tar_info("header", size=2**24, kind=tarfile.XHDTYPE).tobuf()
    (tmp_path / "corpus.tar").write_bytes(header + bytes(2**24))
    with pytest.raises(DataError, match="16777216 bytes"):
        open_container(tmp_path / "corpus.tar")


def test_a_tar_member_of_negative_size_does_not_send_the_reader_in_circles(tmp_path: Path) -> None:
    header = bytearray(tar_info("train/schema.json").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + (-512).to_bytes(2, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    (tmp_path / "corpus.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(DataError):
        open_container(tmp_path / "corpus.tar")


def patched_zip(path: Path, offset: int, value: bytes) -> Path:
    """Change the central directory's entry of a zip with one member."""
    write_zip(path, {"a.json": b"0" * 5000})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02") + offset
    data[place : place + len(value)] = value
    path.write_bytes(data)
    return path


def test_a_zip_member_that_is_larger_than_declared_is_damage(tmp_path: Path) -> None:
    path = patched_zip(tmp_path / "corpus", 24, (10).to_bytes(4, "little"))
    with pytest.raises(DataError, match="damaged zip member"):
        read(path, "a.json")


def test_a_zip_member_that_is_smaller_than_declared_is_damage(tmp_path: Path) -> None:
    path = patched_zip(tmp_path / "corpus", 24, (6000).to_bytes(4, "little"))
    with pytest.raises(DataError, match="damaged zip member"):
        read(path, "a.json")


def test_a_zip_member_with_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = patched_zip(tmp_path / "corpus", 16, b"\1\2\3\4")
    with pytest.raises(DataError, match="CRC"):
        read(path, "a.json")


def test_an_encrypted_zip_member_is_refused(tmp_path: Path) -> None:
    path = patched_zip(tmp_path / "corpus", 8, b"\1\0")
    with pytest.raises(DataError, match="encrypted"):
        read(path, "a.json")


def test_a_zip_member_of_another_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "corpus.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.json", b"x")
    with pytest.raises(DataError, match="compressed by method 12"):
        read(tmp_path / "corpus.zip", "a.json")


def read_all(path: Path) -> dict[str, bytes]:
    with closing(open_container(path)) as container:
        return {name: container.read(name) for name in FILES if container.has(name)}


@pytest.mark.parametrize("write", ARCHIVES)
@pytest.mark.parametrize(
    "rounds", [pytest.param(400, id="short"), pytest.param(10_000, marks=pytest.mark.long)]
)
def test_mutated_archives_are_read_right_or_refused(
    write: Write, tmp_path: Path, rounds: int
) -> None:
    """In a tar only headers have a checksum, so its content may change; in the others none may."""
    original = write(tmp_path / "corpus", FILES).read_bytes()
    generator = random.Random(7)
    refused = 0
    for _ in range(rounds):
        (tmp_path / "mutant").write_bytes(mutated(original, generator))
        try:
            found = read_all(tmp_path / "mutant")
        except DataError:
            refused += 1
            continue
        if write is not write_tar:
            assert all(found[name] == FILES[name] for name in found)
    assert refused > rounds / 20


def mutated(original: bytes, generator: random.Random) -> bytes:
    data = bytearray(original)
    kind = generator.randrange(3)
    place = generator.randrange(len(data))
    if kind == 0:
        data[place] ^= 1 << generator.randrange(8)
    elif kind == 1:
        del data[place:]
    else:
        data[place : place + 4] = generator.randbytes(4)
    return bytes(data)
