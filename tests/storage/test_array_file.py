"""Array files are read back equal; any other file is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.storage.array_file import Arrays, read_arrays, write_arrays


class Header(msgspec.Struct):
    """Of a file of tea."""

    name: str


def read(path: Path, largest: int = 10_000) -> tuple[Header, Arrays]:
    return read_arrays(path, Header, what="tea", largest=largest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "tea.npz"
    write_arrays(written, Header("Sencha"), {"leaves": np.arange(3)})
    return written


def test_what_was_written_is_read(path: Path) -> None:
    header, arrays = read(path)
    assert (header.name, arrays["leaves"].tolist()) == ("Sencha", [0, 1, 2])


def test_a_file_that_would_unpack_to_too_much_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match=r"not a tea: it would unpack to .* at most 100 are"):
        read(path, largest=100)


def test_an_encrypted_file_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(signature, place + 4)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"this is not a tea: .*encrypted"):
        read(path)


@pytest.mark.parametrize("count", [9 * 10**13, 9 * 10**19])
def test_a_shape_that_no_memory_holds_is_refused(path: Path, count: int) -> None:
    described = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({count},), }}".ljust(117)
    member = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + described.encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("leaves.npy", member)
    with pytest.raises(DataError, match="this is not a tea"):
        read(path)
