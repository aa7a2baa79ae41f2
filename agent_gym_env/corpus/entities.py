"""The table of all rows that a split's tools have returned, indexed by the arguments of calls.

SGD's services are not part of the dataset; their data is only known from recorded results. The
rows of a tool are merged, in the order in which that tool lists them.

A row is found by the *set* of its ``slot = value`` pairs: each set of slots by which a tool can be
asked has its own entries, so that a query with several constraints is one look-up, not an
intersection, and costs the same in a corpus of any size. The key of a set of pairs is the sum of
the pairs' 64-bit digests; values are digested in their canonical form.
"""

from __future__ import annotations

import functools
import struct
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import combinations, islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.errors import StorageError
from agent_gym_env.values.equality import canonical

MAX_ROWS = 10
_ROWS_FOR_VALUES = 500
"""Largest number of rows in an answer; SGD's services never return more."""

MAX_INDEXED_OPTIONAL = 4
"""Number of optional arguments all of whose combinations are indexed; others filter the rows."""

_LISTS_FOR_ORDER = 64
_HEADER = struct.Struct(
    "<6Q"
)  # rows, keys, bits of a bucket's number, entries, bytes of text, of directory
_DIGEST_BITS = 64
_DIGEST_MASK: int = 2**_DIGEST_BITS - 1

_ENCODE_ROW = msgspec.json.Encoder().encode
_DECODE_ROW = msgspec.json.Decoder(dict[str, str]).decode

_Digests = NDArray[np.uint64]
_RowNumbers = NDArray[np.uint32]
_Flags = NDArray[np.bool_]


class _ToolEntry(msgspec.Struct, frozen=True, array_like=True):
    """Entry of the directory for a tool.

    Attributes:
        most_rows: number of rows in the longest recorded answer.
        indexed: sets of slots by which the rows can be looked up.
    """

    most_rows: int
    indexed: frozenset[frozenset[str]]


_DIRECTORY = msgspec.msgpack.Decoder(dict[str, _ToolEntry])


class EntityTable:
    """Rows by tool and constraints, read lazily from the bytes that `EntityTableBuilder` wrote."""

    def __init__(self, buffer: memoryview | bytes) -> None:
        self._buffer = memoryview(buffer)
        if len(self._buffer) < _HEADER.size:
            raise _damage("it is too short")
        rows, keys, self._bits, entries, text, directory = _HEADER.unpack_from(self._buffer)
        if self._bits > _DIGEST_BITS:
            raise _damage("its header is not one of this version")
        counts_of_numbers = (2**self._bits + 1, keys + 1, keys, entries)
        sizes = (8 * (rows + 1), 8 * keys, *(4 * count for count in counts_of_numbers))
        if _HEADER.size + sum(sizes) + text + directory != len(self._buffer):
            raise _damage("its size is not the one in its header")
        self._rows: int = rows
        parts = _split(self._buffer[_HEADER.size :], (*sizes, text, directory))
        self._offsets = next(parts).cast("Q")
        self._keys = next(parts).cast("Q")
        self._buckets = next(parts).cast("I")
        self._starts = next(parts).cast("I")
        self._distinct_ends = next(parts).cast("I")
        self._numbers = next(parts).cast("I")
        self._text = next(parts)
        self._directory_bytes = next(parts)

    def __len__(self) -> int:
        return self._rows

    def rows(
        self,
        tool: str,
        filters: Mapping[str, str],
        limit: int = MAX_ROWS,
        *,
        distinct: bool = True,
    ) -> list[bytes]:
        """Find rows of a tool; among more than may be shown, those recorded most often.

        Args:
            tool: full name of the tool.
            filters: canonical values by slot, all of which a row must have.
            limit: largest number of rows; never more than the tool's longest recorded answer.
            distinct: show an entity once, where every recorded answer of the tool does.

        Returns:
            JSON objects, in the order in which the tool lists its rows; none for an unknown tool.

        Raises:
            StorageError: the table is damaged.
        """
        entry = self._directory.get(tool)
        if entry is None:
            return []
        slots = frozenset(filters)
        limit = min(limit, entry.most_rows)
        try:
            if slots in entry.indexed:
                first, distinct_end, end = self._find(_key(tool, filters.items()))
                end = min(distinct_end if distinct else end, first + limit)
                numbers: Iterable[int] = self._numbers[first:end]
            else:
                numbers = islice(self._filter(tool, filters, entry), limit)
            return [self._row(number) for number in sorted(numbers)]
        except (IndexError, ValueError, msgspec.DecodeError) as error:
            raise _damage(str(error)) from error

    def values(self, tool: str, slot: str) -> list[str]:
        """Return the distinct values of a slot in a tool's rows that were recorded most often.

        Raises:
            StorageError: the table is damaged.
        """
        if tool not in self._directory:
            return []
        try:
            first, _, end = self._find(_key(tool, ()))
            numbers = self._numbers[first : min(end, first + _ROWS_FOR_VALUES)]
            rows = (_DECODE_ROW(self._row(number)) for number in numbers)
            return list(dict.fromkeys(row[slot] for row in rows if slot in row))
        except (IndexError, ValueError, msgspec.DecodeError) as error:
            raise _damage(str(error)) from error

    @functools.cached_property
    def _directory(self) -> dict[str, _ToolEntry]:
        try:
            return _DIRECTORY.decode(self._directory_bytes)
        except (ValueError, msgspec.DecodeError) as error:
            raise _damage(str(error)) from error

    def _filter(self, tool: str, filters: Mapping[str, str], entry: _ToolEntry) -> Iterator[int]:
        """Narrow down by the largest indexed set of slots, then look at each row."""
        usable = (slots for slots in entry.indexed if slots <= filters.keys())
        slots = max(usable, key=lambda slots: (len(slots), sorted(slots)), default=frozenset())
        first, _, end = self._find(_key(tool, ((slot, filters[slot]) for slot in slots)))
        rest = {slot: value for slot, value in filters.items() if slot not in slots}
        for number in self._numbers[first:end]:
            row = _DECODE_ROW(self._row(number))
            if all(slot in row and canonical(row[slot], TODAY) == rest[slot] for slot in rest):
                yield number

    def _find(self, key: int) -> tuple[int, int, int]:
        """Return where a key's entries begin, where the distinct ones end, and where all end."""
        bucket = key >> (_DIGEST_BITS - self._bits)
        end = self._buckets[bucket + 1]
        place = bisect_left(self._keys, key, self._buckets[bucket], end)
        if place == end or self._keys[place] != key:
            return 0, 0, 0
        return self._starts[place], self._distinct_ends[place], self._starts[place + 1]

    def _row(self, number: int) -> bytes:
        return bytes(self._text[self._offsets[number] : self._offsets[number + 1]])


class EntityTableBuilder:
    """Collects rows while dialogues are compiled; keeps one copy of each."""

    def __init__(self) -> None:
        self._recorded: dict[str, _RecordedRows] = {}

    def add(self, tool: str, rows: list[dict[str, str]]) -> None:
        """Add a recorded answer of a tool."""
        recorded = self._recorded.get(tool)
        if recorded is None:
            recorded = self._recorded[tool] = _RecordedRows()
        recorded.add(rows)

    def encode(self, tools: Mapping[str, ToolSpec]) -> bytes:
        """Write the table.

        Args:
            tools: tools by name, among them every tool that was added.
        """
        index, texts, directory = _Index(), list[bytes](), dict[str, tuple[int, object]]()
        for name, recorded in sorted(self._recorded.items()):
            slot_sets = _slot_sets(tools[name], tools)
            ranked = recorded.ranked()
            rows = [_DECODE_ROW(text) for text in ranked]
            listed = recorded.listed(rows)
            numbers = _inverse(listed, len(texts))
            index.add(name, rows, numbers, slot_sets, recorded.identifying_slot())
            texts += [ranked[place] for place in listed]
            directory[name] = (recorded.most_rows, slot_sets)
        return _encode(index, texts, msgspec.msgpack.encode(directory))


def join_slots(transaction: ToolSpec, query: ToolSpec) -> tuple[str, ...]:
    """Return the slots by which a transaction names a row of a query's answer."""
    return tuple(slot for slot in transaction.required if slot in query.result_slots)


class _RecordedRows:
    """The answers of one tool, merged."""

    def __init__(self) -> None:
        self.most_rows = 0
        self._times_seen: dict[bytes, int] = {}
        self._lists = 0
        self._distinct: Counter[str] = Counter()
        self._ascending: Counter[str] = Counter()

    def add(self, rows: list[dict[str, str]]) -> None:
        times_seen = self._times_seen
        for row in rows:
            text = _ENCODE_ROW(row)
            times_seen[text] = times_seen.get(text, 0) + 1
        if len(rows) > self.most_rows:
            self.most_rows = len(rows)
        if len(rows) > 1 and self._lists < _LISTS_FOR_ORDER:
            self._look_at_order(rows)

    def _look_at_order(self, rows: list[dict[str, str]]) -> None:
        self._lists += 1
        for slot in rows[0]:
            values = [row.get(slot, "") for row in rows]
            if len(set(values)) == len(values):
                self._distinct[slot] += 1
                self._ascending[slot] += values == sorted(values)

    def ranked(self) -> list[bytes]:
        """Rows by how often they were recorded, then by when they were first.

        SGD was collected from several states of its services' databases: rows that were seen often
        belong to the same state, and are together in recorded answers.
        """
        return sorted(self._times_seen, key=self._times_seen.__getitem__, reverse=True)

    def listed(self, rows: list[dict[str, str]]) -> list[int]:
        """Return the rows' places in the order in which the tool lists them, mostly by a slot."""
        slot = self._ordering_slot()
        return sorted(range(len(rows)), key=lambda place: rows[place].get(slot, ""))

    def identifying_slot(self) -> str | None:
        """Return the slot that orders the lists, if none of them has one of its values twice."""
        slot = self._ordering_slot()
        return slot if self._lists and self._distinct[slot] == self._lists else None

    def _ordering_slot(self) -> str:
        [(slot, _)] = self._ascending.most_common(1) or [("", 0)]
        return slot


def _inverse(listed: list[int], offset: int) -> _RowNumbers:
    numbers = np.empty(len(listed), np.uint32)
    numbers[listed] = np.arange(offset, offset + len(listed), dtype=np.uint32)
    return numbers


def _slot_sets(spec: ToolSpec, tools: Mapping[str, ToolSpec]) -> list[tuple[str, ...]]:
    """Return the sets of slots by which a tool's rows are looked up, each sorted.

    They are its required arguments with any of its optional ones, the slots by which transactions
    of its service name a row, and the empty set, for every row.
    """
    required = [slot for slot in spec.required if slot in spec.result_slots]
    optional = [slot for slot in spec.defaults if slot in spec.result_slots]
    some = optional[:MAX_INDEXED_OPTIONAL]
    asked = {
        frozenset((*required, *chosen))
        for count in range(len(some) + 1)
        for chosen in combinations(some, count)
    }
    booked = {
        frozenset(join_slots(other, spec))
        for other in tools.values()
        if other.transactional and other.service == spec.service and not spec.transactional
    }
    return sorted(tuple(sorted(slots)) for slots in {frozenset[str]()} | asked | booked)


class _Index:
    """Keys and row numbers, column by column of a tool's rows."""

    def __init__(self) -> None:
        self._keys: list[_Digests] = [np.empty(0, np.uint64)]
        self._numbers: list[_RowNumbers] = [np.empty(0, np.uint32)]
        self._distinct: list[_Flags] = [np.empty(0, np.bool_)]
        self._canonical: dict[str, str] = {}

    def add(
        self,
        tool: str,
        rows: list[dict[str, str]],
        numbers: _RowNumbers,
        slot_sets: list[tuple[str, ...]],
        identifying_slot: str | None,
    ) -> None:
        """Index a tool's rows, given in the order of preference.

        Of rows with one key that name the same entity, an answer shows the first.
        """
        every = np.full(len(rows), _digest(tool), np.uint64)
        columns = {slot: self._column(slot, rows) for slot in set[str]().union(*slot_sets)}
        entities = None if identifying_slot is None else self._column(identifying_slot, rows)[0]
        for slots in slot_sets:
            keys, complete = every.copy(), np.ones(len(rows), np.bool_)
            for slot in slots:
                digests, present = columns[slot]
                keys += digests
                complete &= present
            self._keys.append(keys[complete])
            self._numbers.append(numbers[complete])
            self._distinct.append(
                np.ones(len(keys), np.bool_)[complete]
                if entities is None
                else _first_occurrences((keys ^ entities)[complete])
            )

    def _column(self, slot: str, rows: list[dict[str, str]]) -> tuple[_Digests, _Flags]:
        values = [row.get(slot) for row in rows]
        digests = {value: self._value_digest(slot, value) for value in set(values)}
        present = np.array([value is not None for value in values], np.bool_)
        return np.array([digests[value] for value in values], np.uint64), present

    def _value_digest(self, slot: str, value: str | None) -> int:
        if value is None:
            return 0
        known = self._canonical.get(value)
        if known is None:
            known = self._canonical[value] = canonical(value, TODAY)
        return _digest(slot, known)

    def sorted(self) -> tuple[_Digests, _RowNumbers, _RowNumbers, _RowNumbers]:
        """Sort the entries by key.

        Returns:
            The keys; where the entries of each begin, and the last ends; where the distinct ones of
            each end; and the entries.
        """
        keys, numbers = np.concatenate(self._keys), np.concatenate(self._numbers)
        distinct = np.concatenate(self._distinct)
        # Stable: the entries of a key stay in the order of preference.
        order = np.lexsort((~distinct, keys))
        unique, starts = np.unique(keys[order], return_index=True)
        distinct_before = np.append(0, np.cumsum(distinct[order]))
        ends = np.append(starts, len(keys))
        distinct_ends = starts + np.diff(distinct_before[ends])
        return unique, ends.astype(np.uint32), distinct_ends.astype(np.uint32), numbers[order]


def _first_occurrences(digests: _Digests) -> _Flags:
    first = np.zeros(len(digests), np.bool_)
    first[np.unique(digests, return_index=True)[1]] = True
    return first


def _encode(index: _Index, texts: list[bytes], directory: bytes) -> bytes:
    keys, starts, distinct_ends, numbers = index.sorted()
    bits = max(len(keys) - 1, 1).bit_length()
    buckets = np.arange(2**bits, dtype=np.uint64) << np.uint64(_DIGEST_BITS - bits)
    firsts = np.append(np.searchsorted(keys, buckets), len(keys)).astype(np.uint32)
    offsets = array("Q", [0])
    for text in texts:
        offsets.append(offsets[-1] + len(text))
    header = _HEADER.pack(len(texts), len(keys), bits, len(numbers), offsets[-1], len(directory))
    arrays = (keys, firsts, starts, distinct_ends, numbers)
    tables = (offsets.tobytes(), *(array_.tobytes() for array_ in arrays))
    return b"".join((header, *tables, *texts, directory))


def _key(tool: str, pairs: Iterable[tuple[str, str]]) -> int:
    return (_digest(tool) + sum(_digest(slot, value) for slot, value in pairs)) & _DIGEST_MASK


def _digest(*parts: str) -> int:
    text = "\0".join(parts).encode()
    return int.from_bytes(blake2b(text, digest_size=_DIGEST_BITS // 8).digest(), "little")


def _split(buffer: memoryview, sizes: Iterable[int]) -> Iterator[memoryview]:
    begin = 0
    for size in sizes:
        yield buffer[begin : begin + size]
        begin += size


def _damage(problem: str) -> StorageError:
    return StorageError(f"the entity table of a compiled split is damaged: {problem}")
