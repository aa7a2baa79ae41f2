"""Opens a corpus: its splits, compiled on first use, and the selection of dialogues."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from agent_gym_env.corpus.compiler import WordCounts, compile_split, source_fingerprint
from agent_gym_env.corpus.entities import EntityTable
from agent_gym_env.corpus.goals import Goal
from agent_gym_env.corpus.logs.reader import LogReader, is_log
from agent_gym_env.corpus.reader import CorpusReader, OnProgress
from agent_gym_env.corpus.sgd import SPLITS, Dialogue, Service
from agent_gym_env.corpus.sgd_reader import SGDReader, open_source, schema_member
from agent_gym_env.corpus.store import STORE_FORMAT, Store
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import (
    FunctionTool,
    ToolSpec,
    function_specs,
    tool_specs,
)
from agent_gym_env.errors import ChecksumError, DataError, StorageError
from agent_gym_env.registry import CORPORA
from agent_gym_env.storage.cache_folder import home
from agent_gym_env.storage.files import locked, remove_unfinished
from agent_gym_env.suggestions import did_you_mean, unknown_name

Seen = Literal["all", "seen", "unseen"]
_BUILD_WAIT_S = 3600.0
"""Longest wait for another process that compiles the same split, in seconds."""

CorpusConfig = str | os.PathLike[str] | Mapping[str, Any] | CorpusReader
"""A corpus's name or path, a mapping with its name and options, or a reader."""


class Corpus:
    """Dialogues of any format, compiled split by split into the cache.

    Attributes:
        reader: reader of the dialogues.
        name: name of the corpus in messages.
    """

    def __init__(self, reader: CorpusReader) -> None:
        self.reader = reader
        self.name = reader.name
        self._state = _state(reader)

    def __reduce__(self) -> tuple[object, ...]:
        return Corpus, (self.reader,)

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits that the corpus has dialogues of."""
        return tuple(self.reader.splits())

    def split(self, name: str) -> Split:
        """Open a split; it is compiled into the cache when it is opened for the first time.

        Raises:
            ValueError: the name is neither ``train``, ``dev`` or ``test`` nor one of the reader's.
            DataError: the corpus does not have the split, or its files are not in order.
            StorageError: the cache cannot be written or read.
        """
        splits = self.splits()
        if name not in splits:
            raise self._missing_split(name, splits)
        path = self.store_path(name)
        if not path.exists():
            self._compile(name, only_if_missing=True)
        try:
            return _open_split(path)
        except StorageError:
            self._compile(name)
            return _open_split(path)

    def _missing_split(self, name: str, splits: Sequence[str]) -> Exception:
        if name not in SPLITS:
            return ValueError(unknown_name("split", name, dict.fromkeys((*SPLITS, *splits))))
        expected = ""
        if isinstance(self.reader, SGDReader):
            found = ", ".join(self.reader.source.names(name)[:10]) or "nothing"
            expected = (
                f": expected {name}/schema.json and {name}/dialogues_NNN.json, found {found} there"
            )
        return DataError(
            f"the corpus has no split {name!r}{expected}; it has {list(splits)}", file=self.name
        )

    def build(self, name: str, on_progress: OnProgress | None = None) -> Path:
        """Compile a split into the cache, even if it is there, and return the path of the store.

        Args:
            name: name of the split.
            on_progress: called with the number of parts that have been read, and the number of all.
        """
        return self._compile(name, on_progress=on_progress)

    def _compile(
        self,
        name: str,
        *,
        only_if_missing: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Path:
        path = self.store_path(name)
        with locked(path.with_suffix(".lock"), wait_s=_BUILD_WAIT_S) as is_alone:
            if is_alone:
                remove_unfinished(path.parent, path.name)
            if not (only_if_missing and path.exists()):
                compile_split(self.reader, name, path, on_progress=on_progress)
        return path

    def annotated_dialogues(self, name: str) -> Iterator[Dialogue]:
        """Read the dialogues of a split from the source, with their annotation; a log has none."""
        return (each for each in self.reader.dialogues(name) if isinstance(each, Dialogue))

    def verify(self, name: str) -> None:
        """Compare the source of a split with its fingerprint, and its store with its checksums.

        Raises:
            ChecksumError: the source is not the one that was compiled.
            StorageError: a byte of the store has changed.
        """
        split = self.split(name)
        split.verify()
        if source_fingerprint(self.reader, name) != split.fingerprint:
            raise ChecksumError(
                f"the files of split {name!r} have changed since it was compiled, without a change "
                "of their size or time; compile it again: agent-gym data build",
                file=self.name,
            )

    def store_path(self, name: str) -> Path:
        """Return the path of the compiled split; it changes whenever the source does."""
        state = f"{STORE_FORMAT} {self._state} {name}"
        key = hashlib.sha256(state.encode()).hexdigest()[:24]
        return home() / "compiled" / key / f"{name}.store"

    def weighing_split(self, split: Split) -> Split:
        """Return the split whose word counts weigh words: train, or the split itself."""
        return self.split("train") if "train" in self.splits() else split


class Split:
    """A compiled split. Opening it takes the same time for ten dialogues and for ten million."""

    def __init__(self, store: Store) -> None:
        self._store = store
        header = store.header
        self.name = header.split
        self.schema_variant = header.schema_variant
        self.fingerprint = header.fingerprint
        self.services = header.services
        self.seen_services = (
            None if header.seen_services is None else frozenset(header.seen_services)
        )
        self.turns = header.turns
        self._dialogues = header.dialogues
        self._tasks = store.section("tasks")
        self._offsets = store.section("offsets").cast("Q")
        self._decode = msgspec.msgpack.Decoder(Task).decode
        self._goals = store.section("goals")
        self._goal_offsets = store.section("goal_offsets").cast("Q")
        self._decode_goal = msgspec.msgpack.Decoder(Goal).decode

    def __len__(self) -> int:
        return self._dialogues

    def __reduce__(self) -> tuple[Callable[[Path], Split], tuple[Path]]:
        return _open_split, (self._store.path,)

    def __deepcopy__(self, memo: dict[int, object]) -> Split:
        return self

    def verify(self) -> None:
        """Compare every byte of the store with its checksums.

        Raises:
            StorageError: a byte has changed.
        """
        self._store.verify()

    def task(self, index: int) -> Task:
        """Read a dialogue by its index, from 0.

        Raises:
            IndexError: the split has fewer dialogues.
            StorageError: the store is damaged.
        """
        if not 0 <= index < self._dialogues:
            raise IndexError(f"dialogue {index} of {self._dialogues}")
        offsets = self._offsets
        try:
            return self._decode(self._tasks[offsets[index] : offsets[index + 1]])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._store.damage(f"dialogue {index} cannot be read ({error})") from error

    def goal(self, index: int) -> Goal:
        """Read the user's goal of a dialogue by the dialogue's index, from 0.

        Raises:
            IndexError: the split has fewer dialogues.
            StorageError: the store is damaged.
        """
        if not 0 <= index < self._dialogues:
            raise IndexError(f"dialogue {index} of {self._dialogues}")
        offsets = self._goal_offsets
        try:
            return self._decode_goal(self._goals[offsets[index] : offsets[index + 1]])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._store.damage(f"goal {index} cannot be read ({error})") from error

    def has_goal(self, index: int) -> bool:
        """Return whether the annotation of a dialogue gives its user's goal."""
        return bool(self._store.section("with_errands")[index])

    def index(self, dialogue_id: str) -> int:
        """Find a dialogue by its id.

        Raises:
            DataError: the split has no such dialogue.
        """
        try:
            return self._indices[dialogue_id]
        except KeyError:
            example = next(iter(self._indices), "none")
            raise DataError(
                f"split {self.name!r} has no dialogue {dialogue_id!r}; one of it is {example!r}",
                dialogue_id=dialogue_id,
            ) from None

    def dialogue_ids(self) -> list[str]:
        """List the ids of all dialogues, in order."""
        return list(self._indices)

    @functools.cached_property
    def _indices(self) -> dict[str, int]:
        ids = msgspec.msgpack.decode(self._store.checked("ids"), type=list[str])
        return {dialogue_id: index for index, dialogue_id in enumerate(ids)}

    @functools.cached_property
    def schema(self) -> list[Service]:
        """The services, as the schema describes them."""
        return msgspec.msgpack.decode(self._store.checked("schema"), type=list[Service])

    @functools.cached_property
    def tools(self) -> dict[str, ToolSpec]:
        """Every tool of the split's services by name, or of its log by key."""
        return tool_specs(self.schema) | function_specs(self.functions)

    @functools.cached_property
    def functions(self) -> list[FunctionTool]:
        """The tools of a log; empty for a corpus of services."""
        return msgspec.msgpack.decode(self._store.checked("functions"), type=list[FunctionTool])

    @functools.cached_property
    def word_counts(self) -> WordCounts:
        """Number of the split's system utterances that contain each word."""
        return msgspec.msgpack.decode(self._store.checked("words"), type=WordCounts)

    @functools.cached_property
    def entities(self) -> EntityTable:
        """Every row that a tool of the split has returned."""
        return EntityTable(self._store.section("entities"))

    def select(self, services: Iterable[str] | None = None, seen: Seen = "all") -> Sequence[int]:
        """Select the dialogues all of whose services qualify.

        Args:
            services: names of services; ``None`` for any.
            seen: ``"seen"`` for services that the corpus's train split has, ``"unseen"`` for
                services that it has not. A dialogue with both kinds is only among ``"all"``.

        Returns:
            Indices in ascending order.

        Raises:
            ValueError: a name is unknown, or no dialogue qualifies.
            DataError: ``seen`` is asked of a corpus without a train split.
        """
        allowed = self._allowed(services, seen)
        if allowed == set(self.services):
            return range(self._dialogues)
        width = (len(self.services) + 7) // 8
        mask = sum(1 << bit for bit, name in enumerate(self.services) if name not in allowed)
        forbidden = np.frombuffer(mask.to_bytes(width, "little"), np.uint8)
        masks = np.frombuffer(self._store.section("service_masks"), np.uint8).reshape(-1, width)
        selected = np.flatnonzero(~(masks & forbidden).any(axis=1))
        if not len(selected):
            raise ValueError(
                f"split {self.name!r} has no dialogue with services of {sorted(allowed)} only"
                if allowed
                else f"services={services!r}, seen={seen!r} leave no service of split {self.name!r}"
            )
        return [int(index) for index in selected]

    def _allowed(self, services: Iterable[str] | None, seen: Seen) -> set[str]:
        if isinstance(services, str) or not isinstance(services, Iterable | None):
            raise ValueError(f"services must be a list of names or None, not {services!r:.80}")
        allowed = set(self.services if services is None else services)
        unknown = allowed - set(self.services)
        if unknown:
            what = f"a service of split {self.name!r}"
            raise ValueError(unknown_name(what, min(unknown, key=str), self.services))
        if seen == "all":
            return allowed
        if seen not in ("seen", "unseen"):
            raise ValueError(unknown_name("seen", seen, ("all", "seen", "unseen")))
        if self.seen_services is None:
            raise DataError(
                f"seen={seen!r} is relative to the services of train, but the corpus has no "
                "train/schema.json"
            )
        return allowed & self.seen_services if seen == "seen" else allowed - self.seen_services


@functools.lru_cache(maxsize=16)
def _open_split(path: Path) -> Split:
    """Open a store once in each process, so that environments share its memory."""
    return Split(Store(path))


def open_corpus(corpus: CorpusConfig, *, schema_variant: str | None = None) -> Corpus:
    """Open a corpus.

    Args:
        corpus: ``"sample"`` (comes with the package), ``"sgd"`` (after ``agent-gym data
            download``), the path of a folder or archive in SGD's format, of a log of conversations
            (see `agent_gym_env.corpus.logs`) or of a folder of logs, the name of a reader of
            another format (see `agent_gym_env.registry`), ``{"name": …, **options}``, or a reader;
            see `CorpusReader`.
        schema_variant: ``v1`` to ``v5`` to see the dialogues in that schema of SGD-X.

    Raises:
        DataError: the corpus does not exist.
        ValueError: ``corpus`` is neither a name nor a path nor a reader, or the schema variant is
            unknown or was asked of another reader than SGD's.
    """
    found = _read_name(corpus)
    if not isinstance(found, str | os.PathLike):
        return Corpus(_checked_reader(found, schema_variant))
    if not os.path.exists(found):
        names = CORPORA.names()
        raise DataError(
            f"there is no such folder or archive{did_you_mean(os.fspath(found), names)}; a corpus "
            f"is {', '.join(map(repr, names))}, the path of a folder or archive, or the "
            "'package.module:Name' of a reader",
            file=os.fspath(found),
        )
    if is_log(found) and not _is_sgd(found):
        return Corpus(_checked_reader(LogReader(found), schema_variant))
    return Corpus(SGDReader(open_source(found), schema_variant))


def _is_sgd(path: str | os.PathLike[str]) -> bool:
    """Return whether a folder holds a split in SGD's layout."""
    return any(os.path.isfile(os.path.join(path, schema_member(split))) for split in SPLITS)


def _read_name(corpus: CorpusConfig) -> str | os.PathLike[str] | CorpusReader:
    """Return the reader or path that a configuration names."""
    if isinstance(corpus, Mapping):
        options = dict(corpus)
        return CORPORA.make(options.pop("name", None), options, {})  # type: ignore[no-any-return]
    if isinstance(corpus, str) and _is_name(corpus):
        return CORPORA.make(corpus, {}, {})  # type: ignore[no-any-return]
    return corpus


def _is_name(corpus: str) -> bool:
    """Return whether a text is the name of a corpus; an existing path goes first."""
    return corpus in CORPORA.builtin or (not os.path.exists(corpus) and CORPORA.knows(corpus))


def _checked_reader(reader: CorpusReader, schema_variant: str | None) -> CorpusReader:
    if isinstance(reader, type):
        raise ValueError(f"corpus must be an object, not the class {reader.__name__}")
    members = ("splits", "fingerprint", "tools", "dialogues")
    missing = [each for each in members if not callable(getattr(reader, each, None))]
    if len(missing) == len(members):
        raise ValueError(f"corpus must be a name, a path or a reader, not {reader!r:.80}")
    if missing or not isinstance(getattr(reader, "name", None), str):
        raise ValueError(
            "a corpus reader has a name and the methods splits, fingerprint, tools and dialogues; "
            f"{type(reader).__name__} lacks {', '.join(missing) or 'a name that is a string'}"
        )
    if schema_variant is not None and getattr(reader, "schema_variant", None) != schema_variant:
        raise ValueError(
            f"schema_variant={schema_variant!r} is for corpora in SGD's format only, not for "
            f"{reader.name}"
        )
    return reader


def _state(reader: CorpusReader) -> str:
    """Return a text that changes with the corpus or, for other readers than SGD's, their code."""
    if isinstance(reader, SGDReader):
        return reader.fingerprint()
    kind = type(reader)
    try:
        code = Path(inspect.getfile(kind)).read_bytes()
    except (TypeError, OSError):  # defined in a console
        code = b""
    identity = f"{kind.__module__}:{kind.__qualname__} {hashlib.sha256(code).hexdigest()}"
    fingerprint = reader.fingerprint()
    if not isinstance(fingerprint, str):
        raise ValueError(
            f"fingerprint() of the corpus reader {kind.__name__} must return a string, not "
            f"{type(fingerprint).__name__}"
        )
    return f"{identity} {reader.name} {fingerprint}"
