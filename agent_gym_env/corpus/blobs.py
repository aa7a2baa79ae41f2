"""Files as git knows them: a path and the SHA-1 of the content, so that each can be checked."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import msgspec

from agent_gym_env.errors import DataError

_LIST = "git_blobs.tsv"
_LINE = re.compile(r"([0-9a-f]{40})\t(.+)")


class Blob(msgspec.Struct, frozen=True):
    """A file of a commit.

    Attributes:
        path: relative to the repository's top, with ``/``.
        sha1: git's hash of its content, 40 hexadecimal digits.
    """

    path: str
    sha1: str


def git_blob_sha1(content: bytes) -> str:
    """Hash content as git does: its kind, its size and a zero byte go before it."""
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def sgd_blobs() -> tuple[Blob, ...]:
    """Every file of SGD's repository at the pinned commit."""
    text = resources.files("agent_gym_env.corpus").joinpath(_LIST).read_text("utf-8")
    return parse_blobs(text, file=_LIST)


def parse_blobs(text: str, *, file: str) -> tuple[Blob, ...]:
    """Read lines of ``sha1<TAB>path``; lines that begin with ``#`` are comments.

    Args:
        text: the list.
        file: its name, for errors.

    Raises:
        DataError: a line has another form, leaves the repository's folder or repeats a path.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    blobs = tuple(_parse_line(line, file) for line in lines)
    if len({blob.path for blob in blobs}) != len(blobs):
        raise DataError("a path is in the list twice", file=file)
    return blobs


def _parse_line(line: str, file: str) -> Blob:
    match = _LINE.fullmatch(line)
    if match is None or not _stays_inside(match[2]):
        raise DataError(
            f"expected 40 hexadecimal digits, a tab and a relative path, found {line!r}", file=file
        )
    return Blob(path=match[2], sha1=match[1])


def _stays_inside(path: str) -> bool:
    parts = path.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts)
