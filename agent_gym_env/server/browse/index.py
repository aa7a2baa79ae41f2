"""Index of a run's episodes: a database in the cache that lists, filters and searches them.

The index grows with the journal, and is built again when the journal is another one. It can be
deleted at any time. The records stay in the journal, where they are read by their offsets.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from agent_gym_env.errors import AgentGymError, DataError, StorageError
from agent_gym_env.rollout.episode import Episode, Spending
from agent_gym_env.rollout.journal.format import (
    FAILED,
    WORKER_DIED,
    Entry,
    entry_of,
    is_framed,
    is_whole,
)
from agent_gym_env.rollout.journal.reading import LastFailure, read_episode
from agent_gym_env.server.browse.runs import Run
from agent_gym_env.server.browse.summary import KINDS, Summary, summarize_episode, words_of
from agent_gym_env.storage.cache_folder import home
from agent_gym_env.storage.files import MAX_LINE_BYTES, open_file

FORMAT = 2
"""Version of the database; another one is built again."""

PAGE_SIZE = 50
ORDERS = {
    "worst": "reward, job, part",
    "best": "reward DESC, job DESC, part DESC",
    "order": "job, part",
    "dialogue": "dialogue_id, seed, job, part",
    "long": "turns DESC, job, part",
    "expensive": "cost_usd DESC, job, part",
}
"""SQL terms of the orders in which episodes are listed."""

_BATCH = 500
_WAIT_S = 30.0
_MARK_BYTES = 256
_BLANK_BYTES = b" \t\r\n"
_WORD = re.compile(r"[^\W_]+")

_SCHEMA = """
CREATE TABLE sources (
    name TEXT PRIMARY KEY, offset INTEGER, lines INTEGER, head INTEGER, mark INTEGER
) WITHOUT ROWID;
CREATE TABLE episodes (
    n INTEGER PRIMARY KEY, job INTEGER, part INTEGER, source TEXT, offset INTEGER, length INTEGER,
    dialogue_id TEXT, split TEXT, policy TEXT, seed TEXT, services TEXT, reward REAL, turns INTEGER,
    error_class TEXT, outcome TEXT, kinds INTEGER, completions INTEGER, prompt_tokens INTEGER,
    completion_tokens INTEGER, cost_usd REAL, unpriced INTEGER
);
CREATE TABLE summaries (n INTEGER PRIMARY KEY, summary BLOB);
CREATE UNIQUE INDEX by_place ON episodes (job, part);
CREATE INDEX by_reward ON episodes (reward, job, part);
CREATE INDEX by_dialogue ON episodes (dialogue_id, seed);
CREATE TABLE problems (source TEXT, line INTEGER, problem TEXT, job INTEGER);
CREATE TABLE choices (field TEXT, value TEXT, PRIMARY KEY (field, value)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'unicode61');
"""

_INSERT = f"INSERT OR REPLACE INTO episodes VALUES (NULL{', ?' * 20})"


class Key(msgspec.Struct, frozen=True, order=True):
    """Place of an episode in its run.

    Attributes:
        job: number of the job; in a file, number of the line.
        part: number of the episode among those of the job.
    """

    job: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.job}.{self.part}" if self.part else str(self.job)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read a key from an address.

        Raises:
            ValueError: it is not a key.
        """
        found = re.fullmatch(r"(\d{1,15})(?:\.(\d{1,9}))?", text, re.ASCII)
        if found is None:
            raise ValueError(f"an episode's key is a number such as 17 or 17.2, not {text!r:.40}")
        return cls(int(found[1]), int(found[2] or 0))


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions that the listed episodes meet, and their order.

    Attributes:
        words: words that all occur in the episode; the beginning of a word is enough.
        policy: name of the policy.
        service: one of the services.
        outcome: how the dialogue ended.
        error: class of the policy's exception; ``any`` for any.
        kind: one of `KINDS`.
        low: smallest reward.
        high: largest reward.
        tag: a tag of the user's; ``any`` for every episode with a tag or a note.
        order: one of `ORDERS`.
    """

    words: str = ""
    policy: str = ""
    service: str = ""
    outcome: str = ""
    error: str = ""
    kind: str = ""
    low: float | None = None
    high: float | None = None
    tag: str = ""
    order: str = "worst"


class Listed(msgspec.Struct, frozen=True):
    """An episode of a list."""

    key: Key
    summary: Summary


class Figures(msgspec.Struct, frozen=True):
    """Sums over the episodes that meet some filters.

    Attributes:
        episodes: number of episodes.
        failed: number of episodes with an error.
        reward: mean of the episodes' rewards; ``None`` if none has one.
        turns: number of turns.
        spending: completions, tokens and cost.
    """

    episodes: int
    failed: int
    reward: float | None
    turns: int
    spending: Spending


class Problem(msgspec.Struct, frozen=True):
    """A line that could not be read."""

    source: str
    line: int
    problem: str


class Progress(msgspec.Struct, frozen=True):
    """Share of a run that is in the index, in bytes."""

    done: int
    total: int

    @property
    def is_complete(self) -> bool:
        """True if the index holds everything that is in the run."""
        return self.done >= self.total


class Index:
    """The index of one run.

    Each call opens the database by itself, so any thread may call any method. Several processes may
    bring the same index up to date.

    Args:
        run: the run.
        folder: folder of the database; by default, in the cache.
    """

    def __init__(self, run: Run, folder: Path | None = None) -> None:
        self.run = run
        name = blake2b(str(run.path).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self.path = (home() / "browse" if folder is None else folder) / f"{name}.sqlite"
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Summary).decode

    # ---- bringing it up to date ----

    def update(self, *, most: int | None = None) -> Progress:
        """Read what the run has and the index lacks.

        Args:
            most: number of batches to read; all by default.

        Raises:
            StorageError: the cache cannot be written.
        """
        self._discard_another()
        batches = 0
        while most is None or batches < most:
            if not self._read_batch():
                break
            batches += 1
        return self.progress()

    def progress(self) -> Progress:
        """Return how much of the run is in the index."""
        with self.database() as database:
            read = dict(database.execute("SELECT name, offset FROM sources"))
        files = self.run.files()
        sizes = {path: path.stat().st_size for path in files}
        # An unfinished last line is not to be read, however long it stays unfinished.
        unfinished = sum(
            size - read.get(path.name, 0)
            for path, size in sizes.items()
            if size > read.get(path.name, 0)
            and self._grows(path, files)
            and not _has_line(path, read.get(path.name, 0))
        )
        return Progress(sum(read.values()), sum(sizes.values()) - unfinished)

    def _grows(self, path: Path, files: Sequence[Path]) -> bool:
        """Return whether a run that is being recorded appends to a file."""
        return self.run.is_journal and path.name in (FAILED, _last_shard(files))

    def _discard_another(self) -> None:
        """Delete the database if it is of another version, damaged, or of another journal."""
        if not self.path.exists():
            return
        try:
            with self.database() as database:
                is_same = self._is_same(database)
        except sqlite3.DatabaseError:
            is_same = False
        if not is_same:
            self.delete()

    def delete(self) -> None:
        """Delete the database."""
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).unlink()

    def _is_same(self, database: sqlite3.Connection) -> bool:
        """Return whether the run's files still begin with what was read."""
        files = {path.name: path for path in self.run.files()}
        for name, offset, head, mark in database.execute(
            "SELECT name, offset, head, mark FROM sources WHERE offset"
        ):
            if name not in files:
                return False
            try:
                with open_file(files[name]) as file:
                    if (head, mark) != _marks(file, offset):
                        return False
            except DataError:
                return False
        return True

    def _read_batch(self) -> bool:
        """Read some lines of one file; return false if there is nothing to read."""
        with self.database() as database:
            # Nobody else writes from here on, and what others have written is seen.
            database.execute("BEGIN IMMEDIATE")
            files = self.run.files()
            for path in files:
                known = database.execute(
                    "SELECT offset, lines FROM sources WHERE name = ?", [path.name]
                ).fetchone()
                offset, lines = known or (0, 0)
                if path.stat().st_size > offset:
                    grows = self._grows(path, files)
                    read = self._read_lines(database, path, offset, lines, grows=grows)
                    if read > offset:
                        database.execute("COMMIT")
                        return True
            database.execute("ROLLBACK")
            return False

    def _read_lines(
        self, database: sqlite3.Connection, path: Path, offset: int, lines: int, *, grows: bool
    ) -> int:
        with open_file(path) as file:
            file.seek(offset)
            for _ in range(_BATCH):
                line, length = _next_line(file)
                if not length or (grows and not line.endswith(b"\n")):
                    break
                lines += 1
                self._add_line(database, path, lines, offset, line, length)
                offset += length
            head, mark = _marks(file, offset)
        database.execute(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)",
            [path.name, offset, lines, head, mark],
        )
        return offset

    def _add_line(
        self,
        database: sqlite3.Connection,
        path: Path,
        number: int,
        offset: int,
        line: bytes,
        length: int,
    ) -> None:
        if not line.strip(_BLANK_BYTES):
            return
        job = None
        try:
            if length > len(line):
                raise DataError(f"the line has more than {MAX_LINE_BYTES:,} bytes")
            entry = self._entry(line, number)
            job = entry.job
            if entry.error_class == WORKER_DIED:
                died = msgspec.json.decode(line, type=LastFailure)
                raise DataError(f"a worker died with job {entry.job}: {died.error}")
            episode = read_episode(path.name, line)
        except (AgentGymError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = error.problem if isinstance(error, DataError) else str(error)
            values = [path.name, number, said, job]
            database.execute("INSERT INTO problems VALUES (?, ?, ?, ?)", values)
            return
        if path.name == FAILED and self._has(database, entry):
            return  # it has succeeded since
        database.execute("DELETE FROM problems WHERE job = ?", [entry.job])
        self._insert(database, entry, path.name, offset, length, episode)

    def _entry(self, line: bytes, number: int) -> Entry:
        """Return the entry of a line; a line of a file has its number for a job.

        Raises:
            DataError: the line is damaged.
        """
        if (self.run.is_journal or is_framed(line)) and not is_whole(line):
            raise DataError("this line is damaged: its checksum differs")
        entry = entry_of(line) if self.run.is_journal else Entry(number)
        if not (0 <= entry.job < 10**15 and 0 <= entry.part < 10**9):
            raise DataError(f"job {entry.job}, part {entry.part} is not the number of a job")
        return entry

    @staticmethod
    def _has(database: sqlite3.Connection, entry: Entry) -> bool:
        found = database.execute(
            "SELECT 1 FROM episodes WHERE job = ? AND source != ?", [entry.job, FAILED]
        )
        return found.fetchone() is not None

    def _insert(
        self,
        database: sqlite3.Connection,
        entry: Entry,
        source: str,
        offset: int,
        length: int,
        episode: Episode,
    ) -> None:
        summary = summarize_episode(episode)
        spending = summary.spending
        row = database.execute(
            _INSERT,
            [
                entry.job,
                entry.part,
                source,
                offset,
                length,
                summary.dialogue_id,
                summary.split,
                summary.policy,
                summary.seed,
                _listed(summary.services),
                summary.reward,
                summary.turns,
                summary.error_class,
                summary.outcome,
                sum(1 << place for place, kind in enumerate(KINDS) if kind in summary.kinds),
                spending.completions,
                spending.prompt_tokens,
                spending.completion_tokens,
                spending.cost_usd,
                spending.unpriced,
            ],
        )
        database.execute(
            "INSERT INTO summaries VALUES (?, ?)", [row.lastrowid, self._encode(summary)]
        )
        words = " ".join(_WORD.findall(" ".join(words_of(episode))))
        database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", [row.lastrowid, words])
        choices = [("policy", summary.policy), ("outcome", summary.outcome)]
        choices += [("service", service) for service in summary.services]
        choices += [("kind", kind) for kind in summary.kinds]
        choices += [("error", summary.error_class)] if summary.error_class else []
        database.executemany("INSERT OR IGNORE INTO choices VALUES (?, ?)", choices)

    # ---- reading it ----

    def figures(self, filters: Filters, chosen: Sequence[Key] | None = None) -> Figures:
        """Return sums over the episodes that meet filters.

        Args:
            filters: the filters; ``tag`` is ignored.
            chosen: keys of the episodes that may be listed; ``None`` for all.
        """
        where, values = _where(filters)
        with self.database(chosen) as database:
            found = database.execute(
                "SELECT count(*), total(error_class != ''), avg(reward), total(turns), "
                "total(completions), total(prompt_tokens), total(completion_tokens), "
                f"total(cost_usd), total(unpriced) FROM {_source(chosen)} WHERE {where}",
                values,
            ).fetchone()
        count, failed, reward, turns, completions, read, written, cost_usd, unpriced = found
        spending = Spending(int(completions), int(read), int(written), cost_usd, int(unpriced))
        return Figures(count, int(failed), reward, int(turns), spending)

    def listed(
        self, filters: Filters, page: int = 1, chosen: Sequence[Key] | None = None
    ) -> list[Listed]:
        """Return a page of the episodes that meet filters.

        Args:
            filters: the filters; ``tag`` is ignored.
            page: number of the page, from 1 on; a page has `PAGE_SIZE` episodes.
            chosen: as in `figures`.
        """
        where, values = _where(filters)
        with self.database(chosen) as database:
            # The summaries are read for one page only: they are most of the database.
            places = database.execute(
                f"SELECT n, job, part FROM {_source(chosen)} WHERE {where} "
                f"ORDER BY {ORDERS[filters.order]} LIMIT {PAGE_SIZE} OFFSET ?",
                [*values, (page - 1) * PAGE_SIZE],
            ).fetchall()
            find = "SELECT summary FROM summaries WHERE n = ?"
            found = [database.execute(find, [n]).fetchone()[0] for n, _, _ in places]
        return [
            Listed(Key(job, part), self._decode(each))
            for (_, job, part), each in zip(places, found, strict=True)
        ]

    def choices(self, field: str) -> list[str]:
        """Return the values of a field that occur: policy, service, outcome, error or kind."""
        with self.database() as database:
            found = database.execute(
                "SELECT value FROM choices WHERE field = ? ORDER BY value", [field]
            )
            return [value for (value,) in found]

    def problems(self, most: int = 100) -> list[Problem]:
        """Return the lines that could not be read, at most so many."""
        with self.database() as database:
            found = database.execute(
                "SELECT source, line, problem FROM problems ORDER BY rowid LIMIT ?", [most]
            )
            return [Problem(*each) for each in found]

    def episode(self, key: Key) -> Episode:
        """Read an episode from the run.

        Raises:
            DataError: the run has no such episode, or it can no longer be read.
        """
        with self.database() as database:
            found = database.execute(
                "SELECT source, offset, length FROM episodes WHERE job = ? AND part = ?",
                [key.job, key.part],
            ).fetchone()
        if found is None:
            raise DataError(f"the run has no episode {key}", file=self.run.name)
        return next(self._read([found]))[0]

    def episodes(
        self, filters: Filters, chosen: Sequence[Key] | None = None, *, failed: bool = True
    ) -> Iterator[tuple[Episode, bytes]]:
        """Read all episodes that meet filters, with their lines, in the order of the run.

        Args:
            filters: the filters; ``tag`` is ignored.
            chosen: as in `figures`.
            failed: whether a journal's failed jobs are read, too.

        Raises:
            DataError: an episode can no longer be read.
        """
        where, values = _where(filters)
        if not failed:
            where, values = f"{where} AND source != ?", [*values, FAILED]
        with self.database(chosen) as database:
            places = database.execute(
                f"SELECT source, offset, length FROM {_source(chosen)} WHERE {where} "
                "ORDER BY source, offset",
                values,
            ).fetchall()
        return self._read(places)

    def _read(self, places: Sequence[tuple[str, int, int]]) -> Iterator[tuple[Episode, bytes]]:
        folder = self.run.path if self.run.is_journal else self.run.path.parent
        source, file = "", None
        try:
            for name, offset, length in places:
                if file is None or name != source:
                    if file is not None:
                        file.close()
                    source, file = name, open_file(folder / name)
                file.seek(offset)
                line = file.read(length)
                if is_framed(line) and not is_whole(line):
                    raise DataError("the journal was changed meanwhile; try again", file=name)
                yield read_episode(name, line), line
        finally:
            if file is not None:
                file.close()

    # ---- the database ----

    @contextmanager
    def database(self, chosen: Sequence[Key] | None = None) -> Iterator[sqlite3.Connection]:
        """Open the database, and create it where there is none.

        Args:
            chosen: keys for the temporary table ``chosen``.

        Yields:
            A connection, which is closed afterwards.

        Raises:
            StorageError: the cache cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise StorageError(
                f"cannot write {self.path}: {error}. The environment variable AGENT_GYM_HOME names "
                "the folder of caches"
            ) from error
        with closing(database):
            _prepare(database)
            if chosen is not None:
                database.execute("CREATE TEMP TABLE chosen (job INTEGER, part INTEGER)")
                places = [(key.job, key.part) for key in chosen]
                database.executemany("INSERT INTO chosen VALUES (?, ?)", places)
            yield database


def _prepare(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == FORMAT:
        return
    if version:
        raise sqlite3.DatabaseError(f"the index is of format {version}")
    # Readers do not wait for a writer; what a loss of power takes is read again.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("BEGIN IMMEDIATE")
    if not database.execute("PRAGMA user_version").fetchone()[0]:
        for statement in _SCHEMA.split(";\n"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {FORMAT}")
    database.execute("COMMIT")


def _source(chosen: Sequence[Key] | None) -> str:
    return "episodes" if chosen is None else "episodes JOIN chosen USING (job, part)"


def _where(filters: Filters) -> tuple[str, list[Any]]:
    """Return the condition of filters in SQL, and its values."""
    terms, values = ["1"], list[Any]()

    def require(term: str, *given: Any) -> None:
        terms.append(term)
        values.extend(given)

    for field in ("policy", "outcome"):
        if getattr(filters, field):
            require(f"{field} = ?", getattr(filters, field))
    if filters.service:
        require("instr(services, ?)", _listed([filters.service]))
    if filters.error == "any":
        require("error_class != ''")
    elif filters.error:
        require("error_class = ?", filters.error)
    if filters.kind:
        require("kinds & ?", 1 << list(KINDS).index(filters.kind))
    if filters.low is not None:
        require("reward >= ?", filters.low)
    if filters.high is not None:
        require("reward <= ?", filters.high)
    words = _WORD.findall(filters.words)
    if words:
        sought = " ".join(f'"{word}"*' for word in words)
        require("n IN (SELECT rowid FROM words WHERE words MATCH ?)", sought)
    elif filters.words.strip():
        require("0")  # no word that could be found
    return " AND ".join(terms), values


def _listed(names: Sequence[str]) -> str:
    """Join names so that each can be found as a whole."""
    return "".join(f"\n{name}\n" for name in names)


def _last_shard(files: Sequence[Path]) -> str:
    return max((path.name for path in files if path.name != FAILED), default="")


def _has_line(path: Path, offset: int) -> bool:
    """Return whether a line ends behind an offset."""
    with open_file(path) as file:
        file.seek(offset)
        return any(b"\n" in part for part in iter(lambda: file.read(1 << 20), b""))


def _marks(file: BinaryIO, offset: int) -> tuple[int, int]:
    """Return checksums of the beginning of a file and of what precedes an offset."""
    size = min(offset, _MARK_BYTES)
    file.seek(0)
    head = zlib.crc32(file.read(size))
    file.seek(offset - size)
    return head, zlib.crc32(file.read(size))


def _next_line(file: BinaryIO) -> tuple[bytes, int]:
    """Read a line; return its first `MAX_LINE_BYTES` and its whole length in bytes."""
    line = file.readline(MAX_LINE_BYTES)
    length = len(line)
    more = line
    while len(more) == MAX_LINE_BYTES and not more.endswith(b"\n"):
        more = file.readline(MAX_LINE_BYTES)
        length += len(more)
    return line, length
