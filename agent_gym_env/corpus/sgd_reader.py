"""Reads corpora in SGD's file format, from a folder or an archive."""

from __future__ import annotations

import hashlib
import os
import re
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

import msgspec

from agent_gym_env.corpus.container import Container, open_container
from agent_gym_env.corpus.reader import (
    Located,
    OnProgress,
    Place,
    SplitReading,
    check_services,
)
from agent_gym_env.corpus.schema_variants import SchemaVariant
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS, Dialogue, Service
from agent_gym_env.errors import DataError
from agent_gym_env.storage.files import as_utf8
from agent_gym_env.suggestions import explained, unknown_name

_T = TypeVar("_T")
_SHARD = msgspec.json.Decoder(list[msgspec.Raw])
_DIALOGUE = msgspec.json.Decoder(Dialogue)
_SCHEMA = msgspec.json.Decoder(list[Service])
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_SHARD_NAME = re.compile(r"dialogues_([0-9]{1,18})\.json")


def schema_member(split: str, variant: str | None = None) -> str:
    """Return the name of a split's schema: the original one, or that of an SGD-X variant."""
    return (
        f"{split}/schema.json" if variant is None else f"sgd_x/data/{variant}/{split}/schema.json"
    )


class Source:
    """A read-only view of a folder or an archive; a context manager that closes it.

    Members are named from the corpus's top (``train/schema.json``); an archive may have a top
    folder around it, as GitHub's have.

    Attributes:
        name: path of the folder or archive, as the user wrote it.
    """

    def __init__(self, container: Container) -> None:
        self.name = container.name
        self._container = container
        self._top = _find_top(container)
        # Environments are often not closed, and an archive is an open file.
        weakref.finalize(self, container.close)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a schema."""
        return tuple(split for split in SPLITS if self.has(schema_member(split)))

    def shards(self, split: str) -> tuple[str, ...]:
        """Return the members with the split's dialogues, ordered by number."""
        numbers = {
            child: int(match[1])
            for child in self._container.children(self._top + split)
            if (match := _SHARD_NAME.fullmatch(child))
        }
        return tuple(f"{split}/{child}" for child in sorted(numbers, key=lambda c: (numbers[c], c)))

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of everything in a split's folder."""
        return self._container.children(self._top + split)

    def has(self, member: str) -> bool:
        """Return whether there is a regular file of this name."""
        return self._container.has(self._top + member)

    def read(self, member: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: it is missing, not a regular file, too large, damaged or not readable.
        """
        return self._container.read(self._top + member)

    def locate(self, member: str) -> str:
        """Return the path of a member for messages."""
        return f"{self.name}/{self._top}{member}"

    def stamp(self) -> str:
        """Return a text that changes when a file of the corpus does; reads no content.

        Raises:
            DataError: a shard vanished or cannot be looked at.
        """
        print_of_files = self._container.fingerprint(self._top + name for name in self._members())
        return hashlib.sha256(repr(print_of_files).encode()).hexdigest()

    def close(self) -> None:
        """Close the file."""
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


class SGDReader:
    """Reads a corpus in SGD's format; see `agent_gym_env.corpus.reader.CorpusReader`.

    Args:
        source: files of the corpus.
        schema_variant: ``v1`` to ``v5`` to rewrite the dialogues into that schema of SGD-X.

    Raises:
        ValueError: the variant is unknown.
    """

    def __init__(self, source: Source, schema_variant: str | None = None) -> None:
        if schema_variant is not None and schema_variant not in SCHEMA_VARIANTS:
            raise ValueError(unknown_name("schema_variant", schema_variant, SCHEMA_VARIANTS))
        self.name = source.name
        self.source = source
        self.schema_variant = schema_variant

    def __reduce__(self) -> tuple[object, ...]:
        return _open_reader, (self.name, self.schema_variant)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a schema and dialogues."""
        return tuple(split for split in self.source.splits() if self.source.shards(split))

    def fingerprint(self) -> str:
        """Return a text that changes when a file of the corpus does; reads no content."""
        return f"{self.source.stamp()} {self.schema_variant}"

    def tools(self, split: str) -> list[Service]:
        """Read the services of a split, under their names in the schema variant."""
        return self._schema(split, _ignore)[0]

    def dialogues(self, split: str) -> Iterator[Dialogue]:
        """Read the dialogues of a split one by one."""
        _, variant = self._schema(split, _ignore)
        return (located.dialogue for located in self._shards(split, variant, _ignore, None))

    def read(self, split: str, on_progress: OnProgress | None = None) -> SplitReading:
        """Begin to read a split; its dialogues know their places in the files.

        Args:
            split: ``train``, ``dev`` or ``test``.
            on_progress: called after each shard.

        Raises:
            DataError: a file is missing, or does not contain what the format promises.
        """
        digest = hashlib.sha256()
        services, variant = self._schema(split, digest.update)
        schema = self.source.locate(schema_member(split, self.schema_variant))
        dialogues = self._shards(split, variant, digest.update, on_progress)
        train = self._train_services(variant)
        return SplitReading(services, (), train, dialogues, digest.hexdigest, Place(schema))

    def content_fingerprint(self, split: str) -> str:
        """Return the fingerprint of a split's content, without decoding the dialogues."""
        digest = hashlib.sha256()
        self._schema(split, digest.update)
        for shard in self.source.shards(split):
            digest.update(self.source.read(shard))
        return digest.hexdigest()

    def _shards(
        self,
        split: str,
        variant: SchemaVariant | None,
        on_bytes: Callable[[bytes], None],
        on_progress: OnProgress | None,
    ) -> Iterator[Located]:
        source = self.source
        shards = source.shards(split)
        if not shards:
            problem = f"split {split!r} has no shards {split}/dialogues_NNN.json"
            raise DataError(problem, file=source.name)
        for done, shard in enumerate(shards, start=1):
            data = source.read(shard)
            on_bytes(data)
            yield from _dialogues(data, source.locate(shard), variant)
            if on_progress is not None:
                on_progress(done, len(shards))

    def _schema(
        self, split: str, on_bytes: Callable[[bytes], None]
    ) -> tuple[list[Service], SchemaVariant | None]:
        original = self._services(schema_member(split), on_bytes)
        if self.schema_variant is None:
            return original, None
        member = schema_member(split, self.schema_variant)
        rewritten = self._services(member, on_bytes)
        variant = SchemaVariant(original, rewritten, file=self.source.locate(member))
        return variant.services, variant

    def _services(self, member: str, on_bytes: Callable[[bytes], None]) -> list[Service]:
        data = self.source.read(member)
        on_bytes(data)
        at = Place(self.source.locate(member))
        services = _decode(_SCHEMA, as_utf8(data, at.file), at)
        check_services(services, at)
        return services

    def _train_services(self, variant: SchemaVariant | None) -> tuple[str, ...] | None:
        """Return the names of the services of train, under their names in the split's variant."""
        if "train" not in self.source.splits():
            return None
        renamed = {} if variant is None else variant.service_names
        services = self._services(schema_member("train"), _ignore)
        names = (service.service_name for service in services)
        return tuple(renamed.get(name, name) for name in names)


def _ignore(data: bytes) -> None:
    """Take what was read, where no fingerprint is asked for."""


def _open_reader(name: str, schema_variant: str | None) -> SGDReader:
    return SGDReader(open_source(name), schema_variant)


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes | msgspec.Raw, at: Place) -> _T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        problem, path = explained(error, decoder.type)
        if not path and _are_json_lines(data):
            problem = (
                "expected a list, found JSON lines; write [ before the first line, a comma after "
                "each but the last, and ] at the end"
            )
        raise at.inside(path).error(problem) from error
    except _UNDECODABLE as error:
        raise at.error(f"this is not JSON: {_with_line(str(error), data)}") from error


def _are_json_lines(data: bytes | msgspec.Raw) -> bool:
    """Return whether there are several lines, the first of which is a whole object."""
    lines = [line for line in bytes(data).splitlines() if line.strip()]
    try:
        return len(lines) > 1 and isinstance(msgspec.json.decode(lines[0]), dict)
    except _UNDECODABLE:
        return False


def _with_line(problem: str, data: bytes | msgspec.Raw) -> str:
    """Replace the byte that a message names by its line and column."""
    content = bytes(data)

    def place(byte: re.Match[str]) -> str:
        before = content[: int(byte[1])]
        return f"(line {before.count(10) + 1}, column {len(before) - before.rfind(10)})"

    said = re.sub(r"\(byte (\d+)\)", place, problem.removeprefix("JSON is malformed: "))
    return f"{said}; it begins with {content.lstrip()[:20]!r}"


class _Named(msgspec.Struct):
    dialogue_id: str


def _dialogues(data: bytes, file: str, variant: SchemaVariant | None) -> Iterator[Located]:
    """Read a shard dialogue by dialogue, which keeps memory and garbage collection small."""
    shard: list[msgspec.Raw] = _decode(_SHARD, as_utf8(data, file), Place(file))
    for number, raw in enumerate(shard):
        at = Place(file, f"/{number}")
        try:
            dialogue = _DIALOGUE.decode(raw)
        except _UNDECODABLE:
            named = _decode(msgspec.json.Decoder(_Named), raw, at)
            dialogue = _decode(_DIALOGUE, raw, at._replace(dialogue_id=named.dialogue_id))
        located = Located(dialogue, at._replace(dialogue_id=dialogue.dialogue_id))
        yield located if variant is None else _rewritten(located, variant)


def _rewritten(located: Located, variant: SchemaVariant) -> Located:
    try:
        return located._replace(dialogue=variant.rewrite(located.dialogue))
    except DataError as error:
        raise located.error(error.problem) from error


def _find_top(container: Container) -> str:
    """Return the folder, with its slash, that contains the splits: the container itself or a child.

    A child is accepted in an archive only: archives often have one folder around everything, but a
    folder with many things in it, one of which is a corpus, is more likely a mistake.
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
