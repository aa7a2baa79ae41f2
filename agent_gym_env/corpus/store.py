"""The compiled form of a split: one memory-mapped file, opened in constant time.

Layout: magic, sections, header (MessagePack), then a tail of fixed size with the place and checksum
of the header. A store is never changed in place, because readers have it mapped.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent_gym_env.errors import StorageError

STORE_FORMAT = 5
_MAGIC = b"AGYMSTR1"
_TAIL = struct.Struct("<QII8s")  # header's offset, size and CRC-32, magic


class Section(msgspec.Struct, frozen=True, array_like=True):
    """A run of bytes in a store."""

    offset: int
    size: int
    crc: int


class Header(msgspec.Struct, frozen=True):
    """Description of a store.

    Attributes:
        format: version of this layout.
        stamp: fingerprint of the corpus that the reader gave before it was compiled.
        fingerprint: SHA-256 over the content of the split, in hexadecimal.
        split: name of the split.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        dialogues: number of dialogues.
        turns: number of the agent's turns in all dialogues.
        services: names of the services, or keys of a log's tools, in the order of the bits in
            service masks.
        seen_services: names of the services of train; ``None`` for a corpus without train.
        sections: sections by name.
    """

    format: int
    stamp: str
    fingerprint: str
    split: str
    schema_variant: str | None
    dialogues: int
    turns: int
    services: tuple[str, ...]
    seen_services: tuple[str, ...] | None
    sections: dict[str, Section] = {}


class StoreWriter:
    """Writes sections one after another, then the header."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sections: dict[str, Section] = {}
        self._offset = file.write(_MAGIC)
        self._begin = self._offset
        self._crc = 0

    def write(self, data: bytes) -> int:
        """Append to the open section; return the size of the section so far, in bytes."""
        self._file.write(data)
        self._crc = zlib.crc32(data, self._crc)
        self._offset += len(data)
        return self._offset - self._begin

    def end_section(self, name: str) -> None:
        """Close the open section under a name; the next one begins at a multiple of 8."""
        size = self._offset - self._begin
        self._sections[name] = Section(self._begin, size, self._crc)
        self._offset += self._file.write(bytes(-self._offset % 8))
        self._begin, self._crc = self._offset, 0

    def finish(self, header: Header) -> None:
        """Write the header; the file is complete then."""
        encoded = msgspec.msgpack.encode(msgspec.structs.replace(header, sections=self._sections))
        self._file.write(encoded)
        self._file.write(_TAIL.pack(self._offset, len(encoded), zlib.crc32(encoded), _MAGIC))


class Store:
    """A compiled split, read through a memory map: processes that read it share the pages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot map the compiled split {path}: {error}") from error
        self.header = self._read_header()

    def _read_header(self) -> Header:
        size = len(self._map)
        if size < len(_MAGIC) + _TAIL.size:
            raise self.damage("it is too short")
        offset, length, crc, magic = _TAIL.unpack_from(self._map, size - _TAIL.size)
        if magic != _MAGIC or self._map[: len(_MAGIC)] != _MAGIC:
            raise self.damage("its magic bytes are not there")
        encoded = self._map[offset : offset + length]
        if offset + length + _TAIL.size != size or zlib.crc32(encoded) != crc:
            raise self.damage("its header does not match its checksum")
        try:
            header = msgspec.msgpack.decode(encoded, type=Header)
        except msgspec.MsgspecError as error:
            raise self.damage(f"its header is of another format ({error})") from error
        if header.format != STORE_FORMAT:
            raise self.damage(f"its format is {header.format}, this version reads {STORE_FORMAT}")
        return header

    def section(self, name: str) -> memoryview:
        """Return the bytes of a section, without a copy."""
        section = self.header.sections[name]
        return memoryview(self._map)[section.offset : section.offset + section.size]

    def checked(self, name: str) -> memoryview:
        """Return the bytes of a section, after a comparison with its checksum.

        Raises:
            StorageError: a byte has changed since it was written.
        """
        data = self.section(name)
        if zlib.crc32(data) != self.header.sections[name].crc:
            raise self.damage(f"section {name!r} does not match its checksum")
        return data

    def verify(self) -> None:
        """Read everything and compare it with its checksums.

        Raises:
            StorageError: a byte has changed since it was written.
        """
        for name in self.header.sections:
            self.checked(name)

    def damage(self, problem: str) -> StorageError:
        """Return the error for a store that cannot be read."""
        return StorageError(
            f"the compiled split {self.path} is damaged: {problem}. Delete it; it is compiled "
            "again when the split is next opened"
        )
