"""A corpus in SGD's file format where it lies: its splits, their shards, and the bytes of each."""

from __future__ import annotations

import hashlib
import os
import re
import weakref
from types import TracebackType

from agent_gym_env.corpus.container import Container, open_container
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS
from agent_gym_env.errors import DataError

_SHARD = re.compile(r"dialogues_([0-9]{1,18})\.json")


def schema_member(split: str, variant: str | None = None) -> str:
    """The name of a split's schema: the original, or that of an SGD-X variant."""
    return (
        f"{split}/schema.json" if variant is None else f"sgd_x/data/{variant}/{split}/schema.json"
    )


class Source:
    """A read-only view of a folder or an archive; a context manager that closes it.

    Members are named from the corpus's top (``train/schema.json``); an archive may have a top
    folder around it, as GitHub's have.

    Attributes:
        name: the folder or archive, as the user named it.
    """

    def __init__(self, container: Container) -> None:
        self.name = container.name
        self._container = container
        self._top = _find_top(container)
        # Environments are often not closed, and an archive is an open file.
        weakref.finalize(self, container.close)

    def splits(self) -> tuple[str, ...]:
        """The splits that have a schema."""
        return tuple(split for split in SPLITS if self.has(schema_member(split)))

    def shards(self, split: str) -> tuple[str, ...]:
        """Members with the split's dialogues, by their number."""
        numbers = {
            child: int(match[1])
            for child in self._container.children(self._top + split)
            if (match := _SHARD.fullmatch(child))
        }
        return tuple(f"{split}/{child}" for child in sorted(numbers, key=lambda c: (numbers[c], c)))

    def names(self, split: str) -> tuple[str, ...]:
        """Names of whatever lies in a split's folder."""
        return self._container.children(self._top + split)

    def has(self, member: str) -> bool:
        """Whether there is a regular file of this name."""
        return self._container.has(self._top + member)

    def read(self, member: str) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: it is missing, not a regular file, too large, damaged or not readable.
        """
        return self._container.read(self._top + member)

    def locate(self, member: str) -> str:
        """Where a member lies, for the ``file`` of an error."""
        return f"{self.name}/{self._top}{member}"

    def stamp(self) -> str:
        """A fingerprint that changes when a file of the corpus does; reads no content.

        Raises:
            DataError: a shard vanished or cannot be looked at.
        """
        print_of_files = self._container.fingerprint(self._top + name for name in self._members())
        return hashlib.sha256(repr(print_of_files).encode()).hexdigest()

    def close(self) -> None:
        """Give the file handle back."""
        self._container.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _members(self) -> list[str]:
        schemas = [
            schema_member(split, variant)
            for variant in (None, *SCHEMA_VARIANTS)
            for split in SPLITS
        ]
        shards = [shard for split in SPLITS for shard in self.shards(split)]
        return [schema for schema in schemas if self.has(schema)] + shards


def open_source(path: str | os.PathLike[str]) -> Source:
    """Open a corpus: a folder, a zip, a tar or a tar.gz in SGD's layout.

    Raises:
        DataError: the path is none of these, holds no split with a schema, or is damaged.
    """
    container = open_container(path)
    try:
        return Source(container)
    except DataError:
        container.close()
        raise


def _find_top(container: Container) -> str:
    """The folder, with its slash, below which the splits lie: the container itself or a child.

    A child is meant in an archive only: archives often have one folder around everything, and a
    folder with many things in it, one of which is a corpus, is likelier a mistake.
    """
    if _has_split(container, ""):
        return ""
    tops = [f"{child}/" for child in container.children("") if _has_split(container, f"{child}/")]
    is_folder = os.path.isdir(container.name)
    if len(tops) == 1 and is_folder:
        raise DataError(
            f"this folder is not a corpus, but it contains one: use {container.name}/{tops[0]}",
            file=container.name,
        )
    if len(tops) == 1:
        return tops[0]
    found = f"it has several such folders: {', '.join(tops)}" if tops else "it has none"
    raise DataError(
        "expected train/schema.json, dev/schema.json or test/schema.json here or, in an archive, "
        f"in one folder below; {found}. Name the folder or archive of one corpus in SGD's "
        "layout",
        file=container.name,
    )


def _has_split(container: Container, top: str) -> bool:
    return any(container.has(top + schema_member(split)) for split in SPLITS)
