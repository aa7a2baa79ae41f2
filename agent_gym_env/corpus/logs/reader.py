"""Reads logs of conversations, whatever their format, as a corpus.

A log is a file, or a folder of files: JSON lines, or a JSON array of objects; perhaps compressed by
gzip. The form of each object says which format it is. What an import writes is read, too: there
the lines name their tools, which ``tools.json`` describes.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from agent_gym_env.corpus.logs.chat import checked_parameters, is_chat, read_chat
from agent_gym_env.corpus.logs.conversation import BadConversationError, Conversation, bad
from agent_gym_env.corpus.logs.infer_tools import ToolInference
from agent_gym_env.corpus.logs.sharegpt import is_sharegpt, read_sharegpt
from agent_gym_env.corpus.logs.unified import is_unified, read_unified
from agent_gym_env.corpus.reader import LocatedTask, OnProgress, Place, SplitReading
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.errors import DataError
from agent_gym_env.storage.cache_folder import home, load_or_make
from agent_gym_env.storage.files import (
    as_utf8,
    numbered_lines,
    open_file,
    read_file,
    reason,
    written_whole,
)

TOOLS_FILE = "tools.json"
"""Name of the file in which an imported corpus describes its tools."""

_INDEX_FORMAT = 1
_INDEX_WAIT_S = 3600.0
_SUFFIXES = (".jsonl", ".ndjson", ".json")
_NOT_LOGS = (TOOLS_FILE, "report.json")
_SPLIT_NAMES = {"train": "train", "dev": "dev", "validation": "dev", "test": "test"}
_FORMATS = (
    (is_chat, read_chat),
    (is_sharegpt, read_sharegpt),
    (is_unified, read_unified),
)
_EXPECTED = (
    "expected OpenAI's chat format ('messages', or 'input' and 'output'), ShareGPT's "
    "('conversations' with 'from' and 'value') or ConvLab's unified format ('turns' with "
    "'speaker' and 'utterance')"
)
_encode = msgspec.msgpack.Encoder().encode
_decode_tools = msgspec.json.Decoder(list[FunctionTool]).decode
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

OnBad = Callable[[BadConversationError], None]
"""Called with each conversation that cannot be used."""


def is_log(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file of conversations, or a folder of such files, by its names."""
    name = os.fspath(path)
    if os.path.isfile(name):
        return _is_log_name(name)
    return os.path.isdir(name) and any(map(_is_log_name, os.listdir(name)))


def require_log(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is not a log.

    Raises:
        DataError: there is nothing at the path, or something else.
    """
    if not os.path.exists(path):
        raise DataError("there is no such file or folder", file=os.fspath(path))
    if not is_log(path):
        raise DataError(
            "expected a file of conversations (.jsonl, .ndjson or .json, perhaps .gz), or a "
            "folder with such files",
            file=os.fspath(path),
        )


def _is_log_name(name: str) -> bool:
    base = os.path.basename(name).lower()
    return base.removesuffix(".gz").endswith(_SUFFIXES) and base not in _NOT_LOGS


def conversations(
    path: str | os.PathLike[str], on_bad: OnBad | None = None
) -> Iterator[Conversation]:
    """Read the conversations of a log, one at a time.

    Args:
        path: file or folder.
        on_bad: takes the conversations that cannot be used; ``None`` to raise the first one.

    Raises:
        BadConversationError: a conversation cannot be used, and ``on_bad`` is ``None``.
        DataError: a file cannot be read.
    """
    described = _described_tools(path)
    seen: set[tuple[str, str]] = set()
    for record, place, split in _records(path):
        found = _read_or_bad(record, place, described)
        if isinstance(found, Conversation):
            found = found if split is None else found._replace(split=split)
            key = (found.split or "train", found.task.dialogue_id)
            if key not in seen:
                seen.add(key)
                yield found
                continue
            found = bad("repeated_id", "an earlier conversation has this id", found.at)
        if on_bad is None:
            raise found
        on_bad(found)


def _read_or_bad(
    record: Any, place: Place, described: dict[str, FunctionTool]
) -> Conversation | BadConversationError:
    if isinstance(record, BadConversationError):
        return record
    try:
        return _read(record, place, described)
    except BadConversationError as error:
        return error


def _read(record: Any, place: Place, described: dict[str, FunctionTool]) -> Conversation:
    if isinstance(record, list):
        record = {"messages": record}
    if not isinstance(record, dict):
        raise bad("format", f"expected an object, found {record!r:.60}", place)
    for is_format, read in _FORMATS:
        if is_format(record):
            found = read(record, place)
            keys = record.get("tool_keys")
            return found if keys is None else found._replace(tools=_named(keys, described, place))
    raise bad("format", f"{_EXPECTED}; found an object with {sorted(record)!r:.100}", place)


def _named(keys: Any, described: dict[str, FunctionTool], at: Place) -> tuple[FunctionTool, ...]:
    try:
        return tuple(described[key] for key in keys)
    except (KeyError, TypeError) as error:
        problem = f"{TOOLS_FILE} does not describe the tools {keys!r:.80}"
        raise bad("tools", problem, at.inside(".tool_keys")) from error


def _described_tools(path: str | os.PathLike[str]) -> dict[str, FunctionTool]:
    """Return the tools that an imported corpus describes, by key."""
    file = _tools_file(path)
    if not os.path.isfile(file):
        return {}
    try:
        tools = _decode_tools(read_file(file))
    except msgspec.ValidationError:
        return {}  # another program's file of this name
    except _UNDECODABLE as error:
        raise DataError(f"this is not JSON: {error}", file=file) from error
    return {tool.key: _checked_tool(tool, Place(file, f"/{n}")) for n, tool in enumerate(tools)}


def _checked_tool(tool: FunctionTool, at: Place) -> FunctionTool:
    if not tool.name.strip():
        raise bad("tools", "expected a function with a name, found none", at)
    parameters = checked_parameters(tool.parameters, at)
    return msgspec.structs.replace(tool, parameters=parameters)


def _tools_file(path: str | os.PathLike[str]) -> str:
    folder = os.fspath(path) if os.path.isdir(path) else os.path.dirname(os.fspath(path))
    return os.path.join(folder, TOOLS_FILE)


# Files and records.


def _files(path: str | os.PathLike[str]) -> list[str]:
    name = os.fspath(path)
    if not os.path.isdir(name):
        return [name]
    return [os.path.join(name, each) for each in sorted(os.listdir(name)) if _is_log_name(each)]


def _split_of(file: str) -> str | None:
    """Return the split that a file's name gives."""
    return _SPLIT_NAMES.get(os.path.basename(file).partition(".")[0].lower())


def _records(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Place, str | None]]:
    """Yield objects with their places, and the split that their file's name gives.

    An object that is not JSON is yielded as the error that says so.
    """
    files = _files(path)
    for file in files:
        prefix = f"{os.path.basename(file).partition('.')[0]}-" if len(files) > 1 else ""
        split = _split_of(file)
        with _open(file) as opened:
            for record, place, number in _objects(opened, file):
                yield record, Place(place.file, place.pointer, f"{prefix}{number:06}"), split


@contextmanager
def _open(file: str) -> Iterator[BinaryIO]:
    with open_file(file) as opened:
        if file.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=opened) as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield opened


def _objects(opened: BinaryIO, file: str) -> Iterator[tuple[Any, Place, int]]:
    try:
        if file.lower().removesuffix(".gz").endswith(".json"):
            yield from _of_document(opened, file)
        else:
            yield from _of_lines(opened, file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read: {reason(error)}", file=file) from error


def _of_lines(opened: BinaryIO, file: str) -> Iterator[tuple[Any, Place, int]]:
    for number, line in numbered_lines(opened, file):
        if not line.strip():
            continue
        place = Place(f"{file}:{number}")
        yield _decoded(line, place), place, number


def _of_document(opened: BinaryIO, file: str) -> Iterator[tuple[Any, Place, int]]:
    """Yield the objects of an array; a single one; or those of JSON lines under this name."""
    content = as_utf8(opened.read(), file)
    try:
        items = msgspec.json.decode(content, type=list[msgspec.Raw])
    except _UNDECODABLE:
        yield from _of_other_document(content, file)
        return
    for number, raw in enumerate(items):
        place = Place(file, f"/{number}")
        yield _decoded(raw, place), place, number


def _of_other_document(content: bytes, file: str) -> Iterator[tuple[Any, Place, int]]:
    whole = _decoded(content, Place(file))
    if not isinstance(whole, BadConversationError):
        yield whole, Place(file), 1
        return
    lines = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    if len(lines) < 2 or isinstance(_decoded(lines[0][1], Place(file)), BadConversationError):
        raise DataError(whole.problem.removeprefix("json: "), file=file)
    for number, line in lines:
        place = Place(f"{file}:{number}")
        yield _decoded(line, place), place, number


def _decoded(data: bytes | msgspec.Raw, place: Place) -> Any:
    try:
        return msgspec.json.decode(data)
    except _UNDECODABLE as error:
        return bad("json", f"this is not JSON: {error}", place)


# The corpus.


class _Index(msgspec.Struct, frozen=True):
    """Facts about a whole log that playing one of its dialogues needs.

    Attributes:
        splits: tools on offer by split, in the order in which they are first met.
        inferred: names of the tools whose schemas were inferred.
        left_out: number of conversations that cannot be used, by kind.
    """

    format: int
    splits: dict[str, list[FunctionTool]]
    inferred: list[str]
    left_out: dict[str, int]


_decode_index = msgspec.json.Decoder(_Index).decode


class LogReader:
    """Reads logs of conversations; see `agent_gym_env.corpus.reader.CorpusReader`.

    Args:
        path: file, or folder of files. Files named ``train``, ``dev``, ``validation`` or ``test``
            are the splits; otherwise each record's ``split`` or ``data_split``, or ``train``.
        infer_tools: whether tools without a schema get one that fits all their calls.
        skip_bad: whether conversations that cannot be used are left out.

    Raises:
        DataError: there is no such file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        infer_tools: bool = False,
        skip_bad: bool = False,
    ) -> None:
        self.name = os.fspath(path)
        self._infers = infer_tools
        self._skips = skip_bad
        require_log(path)

    def splits(self) -> Sequence[str]:
        """Return the names of the splits."""
        names = [_split_of(file) for file in _files(self.name)]
        if all(names):
            found = {name for name in names if name is not None}
            return [each for each in ("train", "dev", "test") if each in found]
        return tuple(self.index().splits)

    def fingerprint(self) -> str:
        """Return a text that changes with the names, sizes and times of the files."""
        files = [*_files(self.name), _tools_file(self.name)]
        states = [(file, *_state(file)) for file in files]
        return f"{_INDEX_FORMAT} {self._infers} {self._skips} {states}"

    def tools(self, split: str) -> Sequence[FunctionTool]:
        """Return the tools that are on offer in a split."""
        return self.index().splits.get(split, ())

    def dialogues(self, split: str) -> Iterator[Task]:
        """Read the dialogues of a split one by one."""
        return (located.task for located in self._located(split, self.index()))

    def read(self, split: str, on_progress: OnProgress | None = None) -> SplitReading:
        """Begin to read a split; its dialogues know their places in the files."""
        index = self.index()
        tools = index.splits.get(split, [])
        digest = hashlib.sha256(_encode(tools))

        def dialogues() -> Iterator[LocatedTask]:
            for located in self._located(split, index):
                digest.update(_encode(located.task))
                yield located
            if on_progress is not None:
                on_progress(1, 1)

        keys = None
        if "train" in self.splits():
            keys = tuple(tool.key for tool in index.splits.get("train", ()))
        return SplitReading((), tools, keys, dialogues(), digest.hexdigest, Place(self.name))

    def index(self) -> _Index:
        """Return what the whole log says; it is read once, and kept in the cache."""
        key = hashlib.sha256(self.fingerprint().encode()).hexdigest()[:24]
        path = home() / "logs" / f"{key}.json"
        return load_or_make(path, _load_index, lambda: self._make(path), wait_s=_INDEX_WAIT_S)

    def _make(self, path: Path) -> _Index:
        left_out = Counter[str]()
        collected = LogTools()
        for each in conversations(self.name, self._on_bad(left_out)):
            collected.add(each)
        if collected.missing.names() and not self._infers:
            raise DataError(
                f"the log calls {', '.join(collected.missing.names())[:300]}, but does not "
                "describe them; infer their schemas from the calls: agent-gym import "
                "--infer-tools, or corpus={'name': 'logs', 'path': …, 'infer_tools': True}",
                file=self.name,
            )
        if not collected.by_split():
            kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
            raise DataError(
                f"it has no conversation that can be used; left out: {kinds or 'none'}",
                file=self.name,
            )
        index = _Index(
            _INDEX_FORMAT, collected.by_split(), [*collected.missing.names()], dict(left_out)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            file.write(msgspec.json.encode(index))
        return index

    def _on_bad(self, left_out: Counter[str]) -> OnBad | None:
        def count(error: BadConversationError) -> None:
            left_out[error.kind] += 1

        return count if self._skips else None

    def _located(self, split: str, index: _Index) -> Iterator[LocatedTask]:
        tools = _unique(tool for offered in index.splits.values() for tool in offered)
        inferred = [tool for tool in tools if tool.name in index.inferred]
        keys = keys_of(tools)
        for each in conversations(self.name, self._on_bad(Counter())):
            if (each.split or "train") == split:
                yield LocatedTask(with_keys(each, keys, inferred), each.at)


_MOST_OFFERS = 64


class LogTools:
    """Collects the tools of a log, and the calls of those that it does not describe.

    Attributes:
        missing: calls of tools that the log does not describe.
        described: number of tools that the log describes.
    """

    def __init__(self) -> None:
        self.missing = ToolInference()
        self.described = 0
        self._keys: dict[bytes, FunctionTool] = {}
        self._used: set[str] = set()
        self._versions = Counter[str]()
        self._offers: dict[int, tuple[object, dict[str, FunctionTool]]] = {}
        self._splits: dict[str, dict[str, FunctionTool]] = {}

    def add(self, conversation: Conversation) -> tuple[list[str], bool]:
        """Take the tools of a conversation into account.

        Returns:
            The keys of the tools that the log describes for it, and whether these are all that it
            needs.
        """
        offered = self._splits.setdefault(conversation.split or "train", {})
        known = self._known(conversation.tools or ())
        self.described = len(self._keys)
        offered.update((tool.key, tool) for tool in known.values())
        is_complete = conversation.tools is not None
        for turn in conversation.task.turns:
            for call in turn.calls:
                if call.name not in known:
                    self.missing.add(call.name, call.arguments)
                    is_complete = False
        return [tool.key for tool in known.values()], is_complete

    def _known(self, tools: tuple[FunctionTool, ...]) -> dict[str, FunctionTool]:
        """Return tools with their keys, by name. The last ones are found by their identity."""
        kept = self._offers.get(id(tools))
        if kept is None:
            if len(self._offers) >= _MOST_OFFERS:
                self._offers.clear()
            # The tuple is kept, so that no other one gets its identity.
            kept = (tools, {tool.name: self._keyed(tool) for tool in tools})
            self._offers[id(tools)] = kept
        return kept[1]

    def inferred(self) -> list[FunctionTool]:
        """Return the other tools, with schemas that fit their calls."""
        return [self._keyed(tool) for tool in self.missing.tools()]

    def tools(self) -> list[FunctionTool]:
        """Return all tools, also those whose schemas are inferred."""
        return _unique((*self._keys.values(), *self.inferred()))

    def _keyed(self, tool: FunctionTool) -> FunctionTool:
        identity = _identity(tool)
        found = self._keys.get(identity)
        if found is None:
            key = tool.name
            while key in self._used:
                self._versions[tool.name] += 1
                key = f"{tool.name}#{self._versions[tool.name] + 1}"
            self._used.add(key)
            found = self._keys[identity] = msgspec.structs.replace(tool, key=key)
        return found

    def by_split(self) -> dict[str, list[FunctionTool]]:
        """Return the tools by split; those whose schemas are inferred are on offer in each."""
        inferred = self.inferred()
        known = ("train", "dev", "test")
        order = [name for name in known if name in self._splits]
        order += [name for name in self._splits if name not in known]
        return {name: _unique((*self._splits[name].values(), *inferred)) for name in order}


def _identity(tool: FunctionTool) -> bytes:
    return _encode((tool.name, tool.description, tool.parameters))


def keys_of(tools: Iterable[FunctionTool]) -> dict[bytes, str]:
    """Return the key of each tool, by what it consists of."""
    return {_identity(tool): tool.key for tool in tools}


def _unique(tools: Iterable[FunctionTool]) -> list[FunctionTool]:
    """Leave out repeated tools: the inferred schema of one may be what the log says elsewhere."""
    return list({tool.key: tool for tool in tools}.values())


def with_keys(
    conversation: Conversation, keys: dict[bytes, str], inferred: Iterable[FunctionTool]
) -> Task:
    """Return the task of a conversation with the keys of the tools that are on offer.

    Where the log does not describe a tool that is called, all tools with inferred schemas are on
    offer.

    Args:
        conversation: the conversation.
        keys: key of each tool, see `keys_of`.
        inferred: tools whose schemas were inferred.
    """
    task = conversation.task
    offered = {tool.name: keys[_identity(tool)] for tool in conversation.tools or ()}
    called = {call.name for turn in task.turns for call in turn.calls}
    if conversation.tools is None or not called <= offered.keys():
        offered = {**{tool.name: tool.key for tool in inferred}, **offered}
    turns = tuple(_with_key(turn, offered) for turn in task.turns)
    return msgspec.structs.replace(task, services=tuple(offered.values()), turns=turns)


def _with_key(turn: Turn, keys: dict[str, str]) -> Turn:
    if not turn.service or keys[turn.service] == turn.service:
        return turn
    return msgspec.structs.replace(turn, service=keys[turn.service])


def _state(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _load_index(path: Path) -> _Index:
    try:
        index = _decode_index(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"cannot read: {reason(error)}", file=str(path)) from error
    if index.format != _INDEX_FORMAT:
        raise DataError("it is of another version", file=str(path))
    return index
