"""A JSON header and plain arrays in one ``.npz`` file, read without trust.

Nothing of a file is ever executed, and what it would unpack to has a limit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.errors import DataError
from agent_gym_env.storage.files import open_file, written_whole

Arrays = dict[str, NDArray[Any]]
_Header = TypeVar("_Header", bound=msgspec.Struct)

_HEADER = "header.json"

# What numpy's reader raises on damaged bytes, found by mutating files: a RuntimeError for members
# that are encrypted, a MemoryError or OverflowError for shapes that no file can fill, a TokenError
# or a Warning for what it takes for a header of Python 2.
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, MemoryError, OverflowError,
    RecursionError, SyntaxError, TokenError, Warning, BadZipFile, zlib.error, struct.error,
    msgspec.DecodeError,
)  # fmt: skip


def write_arrays(path: Path, header: msgspec.Struct, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a header and arrays; the file appears whole or not at all.

    Raises:
        StorageError: the disk does not take it.
    """
    encoded = np.frombuffer(msgspec.json.encode(header), np.uint8)
    # `Any`, since newer releases of numpy have an argument that older ones take for an array.
    named: dict[str, Any] = {_HEADER: encoded, **arrays}
    with written_whole(path) as file:
        np.savez(file, **named)


def read_arrays(
    path: Path, header: type[_Header], *, what: str, largest: int
) -> tuple[_Header, Arrays]:
    """Read a header and arrays.

    Args:
        path: path of the file.
        header: type of the header.
        what: kind of file, for messages.
        largest: largest total size of the members after unpacking, in bytes.

    Raises:
        DataError: the file is missing, damaged, too large or another one.
    """
    try:
        with open_file(path) as file, ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > largest:
                raise ValueError(f"it would unpack to {unpacked} bytes, at most {largest} are read")
            names = [member.filename for member in archive.infolist()]
            arrays = {name.removesuffix(".npy"): _array(archive, name) for name in names}
        return msgspec.json.decode(arrays.pop(_HEADER).tobytes(), type=header), arrays
    except DataError as error:
        raise DataError(f"this is not a {what}: {error.problem}", file=str(path)) from error
    except _DAMAGE as error:
        raise DataError(f"this is not a {what}: {error}", file=str(path)) from error


def _array(archive: ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array
