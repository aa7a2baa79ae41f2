"""Imports a log: a folder with its conversations in one format, redacted and in splits.

The log is read once. Conversations are written one by one, in OpenAI's chat format, and divided
into files when the splits are known. So memory holds only a few hundred bytes of each of them.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import msgspec
import numpy as np

from agent_gym_env.corpus.logs.chat import chat_record
from agent_gym_env.corpus.logs.conversation import BadConversationError, Conversation
from agent_gym_env.corpus.logs.reader import TOOLS_FILE, LogTools, conversations, require_log
from agent_gym_env.corpus.logs.redaction import RedactionCount, Redactor, read_names
from agent_gym_env.corpus.logs.splitting import SIMILARITY, SPLITS, Splitter
from agent_gym_env.errors import DataError
from agent_gym_env.registry import REDACTORS
from agent_gym_env.storage.files import folder_written_whole

REPORT_FILE = "report.json"
"""Name of the file with the report of an import."""

SplitBy = Literal["log", "conversation", "user"]
OnConversation = Callable[[int], None]
"""Called with the number of conversations that were read so far."""

_EACH = 50
_BUFFER_BYTES = 2**18
_encode = msgspec.json.Encoder().encode


class LeftOut(msgspec.Struct, frozen=True):
    """Conversations that cannot be used, for one reason.

    Attributes:
        kind: code of the reason.
        conversations: number of conversations.
        file: file and line of the first of them.
        pointer: JSON pointer to the place in it; ``None`` for the whole object.
        problem: message about the first of them; ``None`` if the log is redacted, since messages
            quote what they are about.
    """

    kind: str
    conversations: int
    file: str | None
    pointer: str | None
    problem: str | None


class SplitSize(msgspec.Struct, frozen=True):
    """Size of a split.

    Attributes:
        split: name of the split.
        conversations: number of conversations.
        turns: number of turns of the agent.
    """

    split: str
    conversations: int
    turns: int


class NearDuplicates(msgspec.Struct, frozen=True):
    """Near-duplicates among the conversations.

    Attributes:
        conversations: number of conversations that have one.
        moved: number of conversations that were moved to keep near-duplicates in one split.
        largest_group: number of conversations of the largest group that stays together.
        across: number of conversations that the log itself puts into another split than a
            near-duplicate; they stay there.
    """

    conversations: int
    moved: int
    largest_group: int
    across: int


class ImportReport(msgspec.Struct, frozen=True):
    """Counts of what an import has read, left out, replaced and written.

    Attributes:
        log: path of the log.
        folder: folder that was written; ``None`` if nothing was.
        conversations: number of conversations that can be used.
        turns: number of the agent's turns.
        calls: number of calls.
        tools: number of tools that the log describes.
        without_schema: names of tools that are called, but not described.
        inferred: whether schemas of these were inferred.
        notes: number of conversations by what was joined or left out in them, see
            `agent_gym_env.corpus.logs.conversation.NOTES`.
        left_out: conversations that cannot be used.
        splits: sizes of the splits, empty ones left out.
        near_duplicates: near-duplicates; ``None`` if they were not looked for.
        redacted: what was replaced; ``None`` without redaction.
    """

    log: str
    folder: str | None
    conversations: int
    turns: int
    calls: int
    tools: int
    without_schema: tuple[str, ...]
    inferred: bool
    notes: dict[str, int]
    left_out: list[LeftOut]
    splits: list[SplitSize]
    near_duplicates: NearDuplicates | None
    redacted: list[RedactionCount] | None


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of an import.

    Attributes:
        infer_tools: whether tools that the log does not describe get schemas that fit their calls.
        skip_bad: whether conversations that cannot be used are left out.
        redact: whether personal data and secrets are replaced, see
            `agent_gym_env.corpus.logs.redaction`.
        names: file with names to replace, one a line; ``None`` for none.
        redactor: function that replaces more in a text, or its name as ``package.module:Name``.
        split_by: ``log`` to keep conversations in the split that the log names and draw a split for
            the others; ``conversation`` or ``user`` to draw one for each, or for all of a user.
        shares: shares of train, dev and test, in [0, 1]; they add up to 1.
        seed: seed of the draw.
        near_duplicates: whether near-duplicates are kept in one split.
    """

    infer_tools: bool = False
    skip_bad: bool = False
    redact: bool = True
    names: Path | None = None
    redactor: str | Callable[[str], str] | None = None
    split_by: SplitBy = "log"
    shares: tuple[float, ...] = (0.8, 0.1, 0.1)
    seed: int = 0
    near_duplicates: bool = True


def import_logs(
    log: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    on_progress: OnConversation | None = None,
    **options: Any,
) -> ImportReport:
    """Import a log, or only report what is in it.

    Args:
        log: file or folder of conversations, in any format that a corpus may have.
        out: folder to make, which is a corpus then; ``None`` to write nothing.
        on_progress: called with the number of conversations that were read so far.
        **options: fields of `ImportOptions`.

    Returns:
        The report, which the folder has as ``report.json``, too.

    Raises:
        DataError: the log cannot be read, no conversation can be used, or some cannot and are not
            to be left out, or tools have no schemas and these are not to be inferred.
        StorageError: the folder is there already, or the disk does not take it.
        ValueError: an option has a wrong value.
        TypeError: an option is unknown.
        AgentGymError: the redactor fails.

    Examples:
        >>> import_logs("chats.jsonl", "corpus")  # doctest: +SKIP
    """
    work = _Import(Path(log), ImportOptions(**options), on_progress)
    if out is None:
        work.read(None)
        return work.report(None)
    with folder_written_whole(Path(out)) as folder:
        return work.write(folder, Path(out))


class _Import:
    """One import: its counts, and what it has collected so far."""

    def __init__(
        self, log: Path, options: ImportOptions, on_progress: OnConversation | None
    ) -> None:
        require_log(log)
        if options.split_by not in get_args(SplitBy):
            known = ", ".join(get_args(SplitBy))
            raise ValueError(f"split_by must be one of {known}, found {options.split_by!r:.80}")
        self._log = log
        self._options = options
        self._on_progress = on_progress
        self._redactor = _redactor(options)
        similarity = SIMILARITY if options.near_duplicates else None
        self._splitter = Splitter(options.shares, seed=options.seed, similarity=similarity)
        self._tools = LogTools()
        self._is_complete = bytearray()
        self._turns = array("L")
        self._counts = Counter[str]()
        self._notes = Counter[str]()
        self._left_out: dict[str, LeftOut] = {}

    def write(self, folder: Path, out: Path) -> ImportReport:
        """Write the corpus into a folder that is going to be named ``out``."""
        unsplit = folder / "unsplit"
        with unsplit.open("wb", _BUFFER_BYTES) as file:
            self.read(file)
        self._refuse_problems()
        self._divide(folder, unsplit)
        unsplit.unlink()
        tools = self._tools.tools()
        if self._redactor is not None:
            # Schemas are inferred from calls that have been redacted.
            inferred = {tool.key for tool in self._tools.inferred()}
            clean = self._redactor.tool
            tools = [tool if tool.key in inferred else clean(tool) for tool in tools]
        report = self.report(out)
        for name, content in ((TOOLS_FILE, tools), (REPORT_FILE, report)):
            (folder / name).write_bytes(msgspec.json.format(_encode(content)) + b"\n")
        return report

    def read(self, file: BinaryIO | None) -> None:
        """Read the log and write each conversation as a line; nothing without a file."""
        for each in conversations(self._log, self._leave_out):
            conversation = each
            if self._redactor is not None:
                try:
                    conversation = self._redactor.conversation(each)
                except BadConversationError as error:
                    self._leave_out(error)
                    continue
            keys = self._take(each, conversation)
            if file is not None:
                record = chat_record(conversation)
                record["tool_keys"] = keys
                file.write(_encode(record) + b"\n")
        if self._on_progress is not None:
            self._on_progress(self._counts["conversations"])

    def _take(self, original: Conversation, conversation: Conversation) -> list[str]:
        """Count a conversation; return the keys of its tools."""
        task = conversation.task
        keys, is_complete = self._tools.add(conversation)
        self._is_complete.append(is_complete)
        counts = self._counts
        counts["calls"] += sum(
            len(turn.more_calls) + (turn.call is not None) for turn in task.turns
        )
        counts["conversations"] += 1
        counts["turns"] += len(task.turns)
        self._turns.append(len(task.turns))
        for note in conversation.notes:
            self._notes[note] += 1
        self._splitter.add(
            self._unit(original),
            " ".join([f"{turn.user} {turn.text}" for turn in task.turns]),
            conversation.split if self._options.split_by == "log" else None,
        )
        if self._on_progress is not None and not self._counts["conversations"] % _EACH:
            self._on_progress(self._counts["conversations"])
        return keys

    def _unit(self, original: Conversation) -> str:
        if self._options.split_by == "user" and original.user is not None:
            return f"user {original.user}"
        return f"conversation {original.task.dialogue_id}"

    def _leave_out(self, error: BadConversationError) -> None:
        first = self._left_out.get(error.kind)
        if first is not None:
            self._left_out[error.kind] = msgspec.structs.replace(
                first, conversations=first.conversations + 1
            )
            return
        pointer, problem = error.pointer, error.problem
        if self._redactor is not None:
            pointer = None if pointer is None else self._redactor.text(pointer)
        self._left_out[error.kind] = LeftOut(
            error.kind, 1, error.file, pointer, None if self._redactor is not None else problem
        )

    def _refuse_problems(self) -> None:
        """Raise what keeps the log from being a corpus."""
        count = sum(each.conversations for each in self._left_out.values())
        reasons = "; ".join(map(_described, self._left_out.values()))
        total = self._counts["conversations"] + count
        if count and not self._options.skip_bad:
            raise DataError(
                f"{count:,} of {total:,} conversations cannot be used: {reasons}. To leave them "
                "out: --skip-bad",
                file=str(self._log),
            )
        if not self._counts["conversations"]:
            problem = f"no conversation can be used: {reasons}" if count else "no conversation"
            raise DataError(problem, file=str(self._log))
        names = self._missing()
        if names and not self._options.infer_tools:
            raise DataError(
                f"the log calls {', '.join(names)[:300]}, but does not describe them; to infer "
                "their schemas from the calls: --infer-tools",
                file=str(self._log),
            )

    def _missing(self) -> tuple[str, ...]:
        names = self._tools.missing.names()
        return names if self._redactor is None else tuple(map(self._redactor.text, names))

    def _divide(self, folder: Path, unsplit: Path) -> None:
        """Write the lines into the files of their splits, with the keys of inferred tools."""
        places = self._splitter.plan().places
        names = {tool.key: tool.name for tool in self._tools.tools()}
        inferred = [tool.key for tool in self._tools.inferred()]
        with ExitStack() as opened, unsplit.open("rb", _BUFFER_BYTES) as lines:
            files: dict[int, BinaryIO] = {}
            for number, line in enumerate(lines):
                place = int(places[number])
                if place not in files:
                    path = folder / f"{SPLITS[place]}.jsonl"
                    files[place] = opened.enter_context(path.open("wb", _BUFFER_BYTES))
                if inferred and not self._is_complete[number]:
                    line = _with_inferred(line, inferred, names)
                files[place].write(line)

    def report(self, out: Path | None) -> ImportReport:
        """Return the report."""
        plan = self._splitter.plan()
        counts, turns = (
            np.bincount(plan.places, weights, len(SPLITS)).astype(int).tolist()
            for weights in (None, np.array(self._turns, np.int64))
        )
        near = NearDuplicates(plan.near_duplicates, plan.moved, plan.largest_group, plan.across)
        return ImportReport(
            log=str(self._log),
            folder=None if out is None else str(out),
            conversations=self._counts["conversations"],
            turns=self._counts["turns"],
            calls=self._counts["calls"],
            tools=self._tools.described,
            without_schema=self._missing(),
            inferred=self._options.infer_tools and bool(self._missing()),
            notes=dict(self._notes),
            left_out=[*self._left_out.values()],
            splits=[
                SplitSize(*each) for each in zip(SPLITS, counts, turns, strict=True) if each[1]
            ],
            near_duplicates=near if self._options.near_duplicates else None,
            redacted=None if self._redactor is None else self._redactor.counts(),
        )


def _redactor(options: ImportOptions) -> Redactor | None:
    if not options.redact:
        if options.names is not None or options.redactor is not None:
            raise ValueError("names and redactor have no effect without redaction")
        return None
    names = [] if options.names is None else read_names(options.names)
    named = options.redactor
    return Redactor(names, REDACTORS.find(named) if isinstance(named, str) else named)


def _described(left_out: LeftOut) -> str:
    """Describe conversations that cannot be used, on one line."""
    at = "" if left_out.pointer is None else f" at {left_out.pointer}"
    first = f"the first in {left_out.file}{at}"
    if left_out.problem is not None:
        first += f": {left_out.problem}"
    return f"{left_out.kind} {left_out.conversations:,} ({first})"


def _with_inferred(line: bytes, inferred: list[str], names: dict[str, str]) -> bytes:
    """Add the keys of inferred tools to a line, whose last member is ``tool_keys``."""
    start = line.rindex(_TOOL_KEYS) + len(_TOOL_KEYS)
    keys: list[str] = msgspec.json.decode(line[start:].rstrip()[:-1])
    known = {names[key] for key in keys}
    keys += [key for key in inferred if names[key] not in known]
    return line[:start] + _encode(keys) + b"}\n"


_TOOL_KEYS = b'"tool_keys":'
