"""Reads files within limits, writes them atomically, and locks between processes."""

from __future__ import annotations

import codecs
import contextlib
import glob
import itertools
import logging
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agent_gym_env.errors import DataError, LockError, StorageError

if sys.platform != "win32":
    import fcntl

_UNFINISHED = ".unfinished"
_log = logging.getLogger(__name__)
_POLL_S = 0.05

MAX_FILE_BYTES = 256 * 2**20
"""A larger file is refused before it is read, where its reader sets no other limit."""

MAX_LINE_BYTES = 128 * 2**20
"""The same for a line of a file of records. The limits of actions keep episodes far below it."""


def open_file(path: str | os.PathLike[str], *, place: str | None = None) -> BinaryIO:
    """Open a regular file for reading. A FIFO does not block, and a device is refused.

    Args:
        path: path of the file.
        place: name of the file in messages; by default its path.

    Raises:
        DataError: it cannot be opened, or is not a regular file.
    """
    place = os.fspath(path) if place is None else place
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read: {reason(error)}", file=place) from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise DataError("is not a regular file", file=place)


def read_file(path: str | os.PathLike[str], *, largest: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file.

    Args:
        path: path of the file.
        largest: largest size that is read, in bytes.

    Raises:
        DataError: it cannot be read, is not a regular file, or is larger.
    """
    with open_file(path) as file:
        try:
            content = file.read(largest + 1)
        except OSError as error:
            raise DataError(f"cannot read: {reason(error)}", file=os.fspath(path)) from error
    if len(content) > largest:
        raise DataError(f"has more than {largest:,} bytes", file=os.fspath(path))
    return content


def as_utf8(content: bytes, file: str) -> bytes:
    """Return a text file's bytes without a byte order mark.

    Args:
        content: bytes of the file.
        file: name of the file in messages.

    Raises:
        DataError: it is in UTF-16 or UTF-32, compressed or empty.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise DataError("the file is in UTF-16 or UTF-32; write it in UTF-8", file=file)
    text = content.removeprefix(codecs.BOM_UTF8)
    if not text.strip():
        raise DataError("the file is empty", file=file)
    if text.startswith(b"\x1f\x8b"):
        raise DataError("the file is compressed with gzip; unpack it", file=file)
    if b"\0" in text[:4]:
        raise DataError(
            "the file begins with zero bytes, as binary files and UTF-16 do; write it as text in "
            "UTF-8",
            file=file,
        )
    return text


def numbered_lines(file: BinaryIO, place: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file of records with their numbers, without a byte order mark.

    Args:
        file: the open file.
        place: name of the file in messages.

    Raises:
        DataError: a line is longer than `MAX_LINE_BYTES`: a sparse file may be a single line.
    """
    for number in itertools.count(1):
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > MAX_LINE_BYTES:
            problem = f"this line has more than {MAX_LINE_BYTES:,} bytes"
            raise DataError(problem, file=f"{place}:{number}")
        yield number, line


def reason(error: Exception) -> str:
    """Return the message of an error, without error number and path."""
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error) or type(error).__name__


@contextlib.contextmanager
def written_whole(path: Path, *, synced: bool = True) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is complete and on disk.

    What a killed writer of the same file has left is deleted, and a warning is logged that names
    it.

    Args:
        path: path of the file.
        synced: whether to wait for the disk, so that a loss of power leaves no partial file.

    Raises:
        StorageError: the disk does not take it, or a device, a FIFO or a folder has this name.
    """
    with _storage_named(path):
        if path.exists() and not path.is_file():
            raise StorageError(
                f"cannot write {path}: it is there and is not a file; name a file (the environment "
                "variable AGENT_GYM_HOME names the folder of downloads and caches)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        name, descriptor = _claim_unfinished(path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if synced:
                    os.fsync(file.fileno())
                # While it is open, and so locked: nobody is to take it for abandoned.
                os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


@contextlib.contextmanager
def folder_written_whole(folder: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Make a folder that appears under its name only when it is complete.

    What a killed writer of the same folder has left is deleted; see `written_whole`.

    Args:
        folder: the folder.
        replaces: whether one that is there is deleted as soon as the new one is complete.

    Yields:
        The folder to write into.

    Raises:
        StorageError: the folder is there already, or the disk does not take it.
    """
    if folder.exists() and not replaces:
        raise StorageError(f"{folder} is there already: choose another name, or remove it")
    with _storage_named(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        unfinished = _unfinished_name(folder)
        unfinished.mkdir()
        descriptor = None if sys.platform == "win32" else os.open(unfinished, os.O_RDONLY)
        try:
            if descriptor is not None:
                _try_to_lock(descriptor)
            yield unfinished
            if replaces:
                shutil.rmtree(folder, ignore_errors=True)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)


def _claim_unfinished(path: Path) -> tuple[str, int]:
    """Make and lock the file that is written until it is complete."""
    while True:
        name = str(_unfinished_name(path))
        # Not mkstemp, whose files nobody else may read: a cache may be shared.
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # of a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not os.fstat(descriptor).st_nlink:
                # Another writer found it before it was locked, and took it for abandoned.
                os.close(descriptor)
                continue
        return name, descriptor


def _unfinished_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")


def _remove_abandoned(path: Path) -> None:
    """Delete what killed writers of a file or folder have left; one at work holds a lock on its."""
    number = "[0-9a-f]" * 16
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{number}{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY)
            try:
                if not _try_to_lock(descriptor):
                    continue
                _remove(leftover)
                _log.warning("removed %s, which a run that was killed has left", leftover)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk, so that a loss of power does not lose the names of files.

    Raises:
        StorageError: the disk does not take it.
    """
    if sys.platform == "win32":  # which cannot open a folder
        return
    with _storage_named(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Delete what killed writers left; call it only while no other one writes there.

    Args:
        folder: it and all folders below it.
        name: name of the file that was being written; any file if not given.
    """
    pattern = "*" if name is None else f"{glob.escape(name)}.*"
    for leftover in folder.rglob(f".{pattern}{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float) -> Iterator[bool]:
    """Hold a lock file, or go on without one where the platform or file system has no locks.

    The lock saves double work; the code that it guards must be correct without it. The system
    releases it when the process ends, in whatever way.

    Args:
        path: the lock file; it stays there, empty.
        wait_s: longest wait for another process, in seconds.

    Yields:
        Whether the lock is held.

    Raises:
        LockError: another process held it all the time.
        StorageError: the lock file cannot be made.
    """
    with _storage_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _lock(descriptor, path, time.monotonic() + wait_s)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock file. Several may ask at the same time.

    Args:
        path: the lock file, which may be missing.
    """
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # of a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, path: Path, give_up_at: float) -> bool:
    while (is_held := _try_to_lock(descriptor)) is None:
        if time.monotonic() >= give_up_at:
            raise LockError(
                f"another process is at work on {path.with_suffix('')}; wait for it to finish"
            )
        time.sleep(_POLL_S)
    return is_held


def _try_to_lock(descriptor: int) -> bool | None:
    """Try once; return whether the lock is held, or ``None`` if another process holds it."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _storage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. Make room there or choose another "
            "place; the environment variable AGENT_GYM_HOME names that of downloads and caches"
        ) from error
