"""Answers on disk, one file each, under a hash of all that decides them."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import zlib
from pathlib import Path

import msgspec

from agent_gym_env.errors import StorageError
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.storage.files import written_whole

_FORMAT = 1
_log = logging.getLogger(__name__)
_canonical = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Response).decode


class ResponseCache:
    """Keeps answers for as long as the folder is kept. Processes may share one.

    A file is written aside and renamed, so a reader sees a whole one or none; a checksum in its
    first line tells what a disk has damaged, which counts as not there.

    Args:
        folder: made when the first answer is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Response | None:
        """Give the answer under a key."""
        try:
            checksum, _, body = self._path(key).read_bytes().partition(b"\n")
        except OSError:
            return None
        if checksum != _checksum(body):
            return None
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def write(self, key: str, response: Response) -> None:
        """Keep an answer. It was paid for: a disk that is full costs the cache, not the answer."""
        body = _encode(response)
        try:
            with written_whole(self._path(key), synced=False) as file:
                file.write(_checksum(body) + b"\n" + body)
        except StorageError as error:
            _log.warning("cannot keep an answer: %s", error)

    def remove(self, key: str) -> None:
        """Delete the answer under a key, if it is there."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"


def cache_key(identity: str, request: Request) -> str:
    """Hash all that decides an answer.

    Args:
        identity: library, model and place, as in `Transport`.
        request: all of it.
    """
    return hashlib.sha256(_canonical((_FORMAT, identity, request))).hexdigest()


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)
