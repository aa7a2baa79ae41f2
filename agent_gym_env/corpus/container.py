"""Reads files by name from a folder or an archive (zip, tar, tar.gz).

Nothing is extracted, and no name of a member is used as a path. A broken or hostile archive raises
`DataError`.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Protocol

from agent_gym_env.errors import DataError
from agent_gym_env.storage.files import MAX_FILE_BYTES, open_file, reason

MAX_FILES = 100_000
MAX_TAR_BYTES = 8 * 2**30
"""Largest total size of a tar's files, since finding its members means reading all of it."""

_MAX_TAR_HEADER_BYTES = 64 * 2**10
_MAX_TAR_PADDING_BYTES = 2**20
_ZIP_ENCRYPTED = 0x1

# What the standard library raises on damaged bytes, found by mutating archives.
_ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    OverflowError,
    ValueError,
)
_TAR_DAMAGE = (
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RecursionError,
    ValueError,
)


class Container(Protocol):
    """Files by name; folders are part of the names, separated by ``/``."""

    name: str
    """Path of the container, as the user wrote it."""

    def children(self, folder: str) -> tuple[str, ...]:
        """Return the sorted names in a folder (``""`` is the top); empty if it is not a folder."""
        ...

    def has(self, member: str) -> bool:
        """Return whether there is a regular file of this name."""
        ...

    def read(self, member: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: it is missing, not a regular file, too large, damaged or not readable.
        """
        ...

    def fingerprint(self, members: Iterable[str]) -> tuple[object, ...]:
        """Return values that change when one of the members does; reads no content."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_container(path: str | os.PathLike[str]) -> Container:
    """Open a folder, a zip, a tar or a gzipped tar, recognised by its content.

    Raises:
        DataError: the path is none of these, or the archive is damaged or hostile.
    """
    name = os.fspath(path)
    try:
        is_folder = stat.S_ISDIR(os.stat(name).st_mode)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot open: {reason(error)}", file=name) from error
    return _Folder(name) if is_folder else _open_archive(name)


class _Folder:
    """A folder of the file system; its symbolic links are the user's own and are followed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def children(self, folder: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(os.path.join(self.name, folder))))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise DataError(
                f"cannot list the folder: {reason(error)}", file=_place(self.name, folder)
            ) from error

    def has(self, member: str) -> bool:
        return os.path.isfile(os.path.join(self.name, member))

    def read(self, member: str) -> bytes:
        place = _place(self.name, member)
        with open_file(os.path.join(self.name, member), place=place) as file:
            size = os.fstat(file.fileno()).st_size
            _check_size(size, place)
            try:
                content = file.read(size + 1)
            except OSError as error:
                raise DataError(f"cannot read: {reason(error)}", file=place) from error
        if len(content) != size:
            raise DataError("changed while it was read; run again", file=place)
        return content

    def fingerprint(self, members: Iterable[str]) -> tuple[object, ...]:
        return tuple(self._stat(member) for member in members)

    def close(self) -> None:
        pass

    def _stat(self, member: str) -> tuple[str, int, int]:
        try:
            status = os.stat(os.path.join(self.name, member))
        except OSError as error:
            raise DataError(
                f"cannot read: {reason(error)}", file=_place(self.name, member)
            ) from error
        return member, status.st_size, status.st_mtime_ns


class _ArchiveIndex:
    """Names of an archive's members, checked: none points outside of the archive."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._children: dict[str, set[str]] = {"": set()}
        self._count = 0

    def add(self, raw_name: str, *, is_folder: bool) -> str:
        """Add a member, and return its name without ``./`` and trailing slash."""
        self._count += 1
        if self._count > MAX_FILES:
            raise DataError(f"more than {MAX_FILES:,} members", file=self._archive)
        parts = _safe_parts(raw_name, self._archive)
        name = "/".join(parts)
        for depth in range(len(parts)):
            folder = "/".join(parts[:depth])
            self._children.setdefault(folder, set()).add(parts[depth])
        if is_folder:
            self._children.setdefault(name, set())
        return name

    def children(self, folder: str) -> tuple[str, ...]:
        return tuple(sorted(self._children.get(folder, ())))

    def refuse(self, member: str) -> DataError:
        """Return the error for a member that is not a file of the archive."""
        is_folder = member in self._children
        problem = "is a folder, expected a file" if is_folder else "is not in the archive"
        return DataError(problem, file=_place(self._archive, member))


class _Zip:
    """A zip archive; safe for several threads."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = file
        self._fingerprint = _archive_fingerprint(name, file)
        self._index = _ArchiveIndex(name)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        with _damage_named(_ZIP_DAMAGE, "zip archive", name):
            self._zip = zipfile.ZipFile(file)
        for info in self._zip.infolist():
            self._take(info)

    def children(self, folder: str) -> tuple[str, ...]:
        return self._index.children(folder)

    def has(self, member: str) -> bool:
        return member in self._infos

    def read(self, member: str) -> bytes:
        place = _place(self.name, member)
        info = self._infos.get(member)
        if info is None:
            raise self._index.refuse(member)
        if info.flag_bits & _ZIP_ENCRYPTED:
            raise DataError("is encrypted; store it without a password", file=place)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"is compressed by method {info.compress_type}; expected deflate or none",
                file=place,
            )
        _check_size(info.file_size, place)
        # ZipExtFile stops at the declared size, so a lie about it costs no memory.
        with _damage_named(_ZIP_DAMAGE, "zip member", place), self._zip.open(info) as stream:
            return _exactly(stream, info.file_size)

    def fingerprint(self, members: Iterable[str]) -> tuple[object, ...]:
        return self._fingerprint

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def _take(self, info: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _not_regular(self.name, info.filename)
        is_folder = info.is_dir() or info.filename.endswith("\\")
        name = self._index.add(info.filename, is_folder=is_folder)
        if is_folder:
            return
        if name in self._infos:
            raise DataError("is in the archive twice", file=_place(self.name, name))
        self._infos[name] = info


class _Tar:
    """A tar archive, plain or gzipped; safe for several threads, which wait for each other.

    A gzipped tar is read fastest in the order in which its members lie.
    """

    def __init__(self, name: str, file: IO[bytes], *, gzipped: bool) -> None:
        self.name = name
        self._file = file
        self._fingerprint = _archive_fingerprint(name, file)
        self._index = _ArchiveIndex(name)
        self._infos: dict[str, tarfile.TarInfo] = {}
        self._lock = threading.Lock()
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if gzipped else file  # type: ignore[assignment]
        self._stream = _CappedReader(stream, _MAX_TAR_HEADER_BYTES)
        with _damage_named(_TAR_DAMAGE, "tar archive", name):
            self._tar = tarfile.TarFile(fileobj=self._stream, mode="r")  # type: ignore[arg-type]
            self._walk()
            if gzipped:
                self._check_end()
        self._stream.limit = MAX_FILE_BYTES

    def children(self, folder: str) -> tuple[str, ...]:
        return self._index.children(folder)

    def has(self, member: str) -> bool:
        return member in self._infos

    def read(self, member: str) -> bytes:
        place = _place(self.name, member)
        info = self._infos.get(member)
        if info is None:
            raise self._index.refuse(member)
        with self._lock, _damage_named(_TAR_DAMAGE, "tar member", place):
            stream = self._tar.extractfile(info)
            if stream is None:
                raise _not_regular(self.name, member)
            with stream:
                return _exactly(stream, info.size)

    def fingerprint(self, members: Iterable[str]) -> tuple[object, ...]:
        return self._fingerprint

    def close(self) -> None:
        self._tar.close()
        self._stream.close()
        self._file.close()

    def _check_end(self) -> None:
        """Read to the end, where gzip keeps the checksum of all that comes before."""
        padding = 0
        while chunk := self._stream.read(_MAX_TAR_HEADER_BYTES):
            padding += len(chunk)
            if padding > _MAX_TAR_PADDING_BYTES:
                raise tarfile.ReadError("it goes on after its end")

    def _walk(self) -> None:
        total = 0
        # Each size is checked before the next header is looked for: a negative one would send
        # tarfile back to where it was, a huge one would have gzip inflate it.
        for info in self._tar:
            if not (info.isfile() or info.isdir()):
                raise _not_regular(self.name, info.name)
            if info.size < 0:
                raise tarfile.ReadError("negative size")
            _check_size(info.size, _place(self.name, info.name))
            total += info.size
            if total > MAX_TAR_BYTES:
                raise DataError(f"more than {MAX_TAR_BYTES:,} bytes of files", file=self.name)
            name = self._index.add(info.name, is_folder=info.isdir())
            if info.isdir():
                continue
            if name in self._infos:
                raise DataError("is in the archive twice", file=_place(self.name, name))
            self._infos[name] = info


class _CappedReader:
    """A stream that refuses reads beyond a limit, since tarfile trusts the length in a header."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self.limit = limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.limit:
            raise tarfile.ReadError(f"a header or member of {size} bytes")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()


def _open_archive(name: str) -> Container:
    with contextlib.ExitStack() as on_failure:
        file = on_failure.enter_context(open_file(name))
        container = _recognise(name, file)
        on_failure.pop_all()
    return container


def _recognise(name: str, file: IO[bytes]) -> Container:
    try:
        start = file.read(512)
        file.seek(0)
    except OSError as error:
        raise DataError(f"cannot read: {reason(error)}", file=name) from error
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _Zip(name, file)
    if start[:2] == b"\x1f\x8b":
        return _Tar(name, file, gzipped=True)
    if start[257:262] == b"ustar":
        return _Tar(name, file, gzipped=False)
    raise DataError("expected a folder, or an archive that is a zip, a tar or a tar.gz", file=name)


def _safe_parts(raw_name: str, archive: str) -> list[str]:
    # Some archives of Windows have its separator in their names.
    name = raw_name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    is_absolute = name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None
    if is_absolute or ".." in parts or "\0" in name:
        raise DataError(
            f"the archive has a member {raw_name!r} that points outside of it; "
            "do not trust this archive",
            file=archive,
        )
    return parts


def _check_size(size: int, place: str) -> None:
    if size > MAX_FILE_BYTES:
        raise DataError(
            f"has {size:,} bytes; a file of a corpus has at most {MAX_FILE_BYTES:,}", file=place
        )


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    # The read past the end is what makes zipfile compare the checksum of an empty member.
    if len(content) != size or stream.read(1):
        raise EOFError(f"{len(content):,} bytes instead of {size:,}")
    return content


@contextlib.contextmanager
def _damage_named(damage: tuple[type[Exception], ...], what: str, place: str) -> Iterator[None]:
    try:
        yield
    except damage as error:
        raise DataError(f"damaged {what}: {reason(error)}", file=place) from error


def _not_regular(archive: str, member: str) -> DataError:
    return DataError(
        "the archive holds a link or a special file; store the file itself",
        file=_place(archive, member),
    )


def _archive_fingerprint(name: str, file: IO[bytes]) -> tuple[object, ...]:
    status = os.fstat(file.fileno())
    return os.path.realpath(name), status.st_size, status.st_mtime_ns


def _place(container: str, member: str) -> str:
    return f"{container}/{member}" if member else container
