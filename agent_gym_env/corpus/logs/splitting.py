"""Divides conversations into splits, so that those of a user, and near-duplicates, stay together.

Each unit, which is a conversation or all conversations of a user, is put into a split by a hash of
its id. So neither the order nor the number of the others matters. Then units with near-duplicate
conversations are moved into one split.

Near-duplicates are found by MinHash (Broder, "On the resemblance and containment of documents",
1997) over shingles of three words, with one hash function and bins (Li, Owen and Zhang, "One
Permutation Hashing", 2012), and locality-sensitive hashing. Conversations are hashed in batches: a
library that takes them one by one needs ten times as long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "dev", "test")

SIMILARITY = 0.8
"""Share of common shingles from which two conversations are near-duplicates."""

_BANDS, _ROWS = 12, 5
_BINS = _BANDS * _ROWS
_NEIGHBOURS = 8
"""Number of the next conversations with the same hash of a band that each one is compared with."""

_MAX_TEXT_BYTES = _BATCH_BYTES = 2**18
_COMPARED_AT_ONCE = 2**15

_Hashes = NDArray[np.uint64]
_Places = NDArray[np.int64]
_Signatures = NDArray[np.uint32]


class SplitPlan(NamedTuple):
    """The split of each conversation.

    Attributes:
        places: index into `SPLITS` by conversation, shape ``(conversations,)``, uint8.
        near_duplicates: number of conversations that have a near-duplicate.
        moved: number of conversations that were moved because of near-duplicates.
        largest_group: number of conversations of the largest group that stays together.
        across: number of near-duplicates that the log itself puts into another split than the
            first one of their group.
    """

    places: NDArray[np.uint8]
    near_duplicates: int
    moved: int
    largest_group: int
    across: int


class Splitter:
    """Collects conversations and divides them. It keeps about 400 bytes for each.

    Args:
        shares: share of each of `SPLITS`, in [0, 1]; they add up to 1.
        seed: seed of the draw.
        similarity: share of common shingles from which two conversations are near-duplicates, in
            [0.5, 1]; ``None`` to look for none.

    Raises:
        ValueError: the shares do not add up to 1, or a value is out of its range.

    Examples:
        >>> splitter = Splitter(seed=1)
        >>> for user in ("ann", "bob", "ann"):
        ...     splitter.add(user, f"the words of {user}")
        >>> splitter.plan().places.tolist()
        [0, 0, 0]
    """

    def __init__(
        self,
        shares: Sequence[float] = (0.8, 0.1, 0.1),
        *,
        seed: int = 0,
        similarity: float | None = SIMILARITY,
    ) -> None:
        if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(
                f"the shares must be {len(SPLITS)} numbers from 0 to 1, of {', '.join(SPLITS)}, "
                f"that add up to 1; found {list(shares)}"
            )
        if similarity is not None and not 0.5 <= similarity <= 1:
            raise ValueError(f"the similarity must be from 0.5 to 1, found {similarity}")
        self._shares = shares
        self._key = str(seed).encode()[:64]
        self._units: dict[bytes, int] = {}
        self._unit_of: list[int] = []
        self._given: list[int] = []
        self._similarity = similarity
        self._texts: list[bytes] = []
        self._bytes = 0
        self._signatures: list[_Signatures] = []

    def add(self, unit: str, text: str, split: str | None = None) -> None:
        """Add a conversation.

        Args:
            unit: id of the conversation or user.
            text: words of the conversation, by which near-duplicates are found.
            split: name of the split that the log itself puts it into; it stays there.
        """
        data = unit.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=8, key=self._key).digest()
        self._unit_of.append(self._units.setdefault(digest, len(self._units)))
        self._given.append(-1 if split is None else SPLITS.index(split))
        if self._similarity is None:
            return
        self._texts.append(text.encode("utf-8", "replace")[:_MAX_TEXT_BYTES])
        self._bytes += len(self._texts[-1])
        if self._bytes >= _BATCH_BYTES:
            self._hash_texts()

    def _hash_texts(self) -> None:
        if self._texts:
            self._signatures.append(signatures(self._texts))
        self._texts, self._bytes = [], 0

    def plan(self) -> SplitPlan:
        """Return the split of each conversation, in the order in which they were added."""
        self._hash_texts()
        if not self._unit_of:
            return SplitPlan(np.zeros(0, np.uint8), 0, 0, 0, 0)
        unit_of = np.array(self._unit_of)
        order = np.array([int.from_bytes(each, "big") for each in self._units], np.uint64)
        drawn = np.searchsorted(np.cumsum(self._shares)[:-1], order / 2.0**64, side="right")
        groups, is_alike = self._groups(unit_of)
        # The unit with the smallest hash leads its group, in whatever order they came.
        leader = np.full(len(order), -1)
        by_hash = np.argsort(order)[::-1]
        leader[groups[by_hash]] = by_hash
        given = np.array(self._given)
        final = drawn[leader[groups]][unit_of]
        places = np.where(given >= 0, given, final)
        moved = (places != drawn[unit_of]) & (given < 0)
        sizes = np.bincount(groups[unit_of])
        first = np.zeros(len(order), np.int64)
        first[groups[unit_of][::-1]] = places[::-1]
        across = is_alike & (places != first[groups[unit_of]])
        return SplitPlan(
            places.astype(np.uint8),
            int(is_alike.sum()),
            int(moved.sum()),
            int(sizes.max()),
            int(across.sum()),
        )

    def _groups(self, unit_of: _Places) -> tuple[_Places, NDArray[np.bool_]]:
        """Return the group of each unit, and which conversations have a near-duplicate."""
        groups = np.arange(len(self._units))
        is_alike = np.zeros(len(unit_of), bool)
        if self._similarity is not None:
            for one, other in _near_duplicates(np.concatenate(self._signatures), self._similarity):
                is_alike[one] = is_alike[other] = True
                groups = _joined(groups, unit_of[one], unit_of[other])
        return groups, is_alike


def _joined(groups: _Places, one: _Places, other: _Places) -> _Places:
    """Return the groups after those of pairs are joined; a group has the name of its first unit."""
    while True:
        first, second = groups[one], groups[other]
        differ = first != second
        if not differ.any():
            return groups
        one, other, first, second = one[differ], other[differ], first[differ], second[differ]
        np.minimum.at(groups, np.maximum(first, second), np.minimum(first, second))
        while (groups != (shorter := groups[groups])).any():
            groups = shorter


def _near_duplicates(table: _Signatures, similarity: float) -> Iterator[tuple[_Places, _Places]]:
    """Yield batches of pairs of near-duplicates.

    Conversations whose bins agree in a band are compared with some of the next ones with the same
    bins, and with the first.
    """
    for band in range(_BANDS):
        keys = np.zeros(len(table), np.uint64)
        for column in range(band * _ROWS, (band + 1) * _ROWS):
            keys = _mixed(keys * _BASE + table[:, column])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.diff(keys, prepend=keys[0] + np.uint64(1)))
        first = np.repeat(begins, np.diff(begins, append=len(keys)))
        rank = np.arange(len(keys)) - first
        for back in (*range(1, _NEIGHBOURS + 1), None):
            after = np.flatnonzero(rank > (_NEIGHBOURS if back is None else back - 1))
            before = first[after] if back is None else after - back
            yield from _similar(table, order[before], order[after], similarity)


def _similar(
    table: _Signatures, one: _Places, other: _Places, similarity: float
) -> Iterator[tuple[_Places, _Places]]:
    for start in range(0, len(one), _COMPARED_AT_ONCE):
        some = slice(start, start + _COMPARED_AT_ONCE)
        is_near = (table[one[some]] == table[other[some]]).mean(axis=1) >= similarity
        if is_near.any():
            yield one[some][is_near], other[some][is_near]


# Hashing. All arithmetic is modulo 2**64.

_BASE = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint32(2**32 - 1)


_LETTERS = bytes(
    ord(chr(byte).lower()) if byte >= 128 or chr(byte).isalnum() else 32 for byte in range(256)
)
"""Each byte with capital letters as small ones, and a space for what divides words."""

_WINDOW = 8
_MASKS = np.array([2 ** (8 * length) - 1 for length in range(_WINDOW)] + [2**64 - 1], np.uint64)


def signatures(texts: Sequence[bytes]) -> _Signatures:
    """Return the MinHash signatures of texts.

    Args:
        texts: texts in UTF-8, at least one.

    Returns:
        Smallest hash of a shingle in each bin, shape ``(texts, 60)``. The share of equal columns of
        two texts estimates the share of the shingles that they have in common.
    """
    words, ends = _words(b" ".join([*texts, b""]))
    limits = np.cumsum([len(text) + 1 for text in texts])
    text_of = np.searchsorted(limits, ends, side="left")
    shingles, text_of = _shingles(words, text_of)
    bins = ((shingles >> np.uint64(32)) * np.uint64(_BINS) >> np.uint64(32)).astype(np.int64)
    table = np.full(len(texts) * _BINS, _EMPTY)
    np.minimum.at(table, text_of * _BINS + bins, shingles.astype(np.uint32))
    return _filled(table.reshape(len(texts), _BINS))


def _words(joined: bytes) -> tuple[_Hashes, _Places]:
    """Return the hash of each word, and the place behind it.

    The first and last eight bytes of a word and its length make its hash.
    """
    data = (joined + b" " * _WINDOW).translate(_LETTERS)
    is_word = np.frombuffer(data, np.uint8) != ord(" ")
    edges = np.flatnonzero(np.diff(is_word, prepend=False))
    starts, ends = edges[::2], edges[1::2]
    lengths = ends - starts
    windows: _Hashes = np.ndarray(len(joined) + 1, "<u8", data, strides=(1,))
    masks = _MASKS[np.minimum(lengths, _WINDOW)]
    head = windows[starts] & masks
    tail = windows[np.maximum(ends - _WINDOW, starts)] & masks
    return _mixed((head * _BASE + tail) * _BASE + lengths.astype(np.uint64)), ends


def _shingles(words: _Hashes, text_of: _Places) -> tuple[_Hashes, _Places]:
    """Return the hashes of all three words in a row, and the index of the text of each.

    A text with fewer words has one shingle, of all of them.
    """
    count = len(words)
    more = np.append(words, np.zeros(2, np.uint64))
    further = np.append(text_of, [-1, -1])
    later = [more[step : step + count] for step in (1, 2)]
    is_inside = [further[step : step + count] == text_of for step in (1, 2)]
    second, third = (np.where(a, b, np.uint64(0)) for a, b in zip(is_inside, later, strict=True))
    hashes = _mixed((words * _BASE + second) * _BASE + third)
    is_kept = is_inside[1] | (np.diff(text_of, prepend=-1) != 0)
    return hashes[is_kept], text_of[is_kept]


def _mixed(values: _Hashes) -> _Hashes:
    """Mix the bits of hashes, as MurmurHash3 does at its end."""
    mixed: _Hashes = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def _filled(table: _Signatures) -> _Signatures:
    """Fill empty bins with the next bin that is not empty, changed by the distance.

    See Shrivastava and Li, "Densifying One Permutation Hashing via Rotation", 2014.
    """
    away = np.zeros(len(table), np.uint32)
    value = table[:, 0].copy()
    filled: _Signatures = table.copy()
    for place in range(2 * _BINS - 1, -1, -1):
        column = table[:, place % _BINS]
        is_empty = column == _EMPTY
        value = np.where(is_empty, value, column)
        away = np.where(is_empty, away + np.uint32(1), np.uint32(0))
        filled[:, place % _BINS] = np.where(is_empty, value + away * np.uint32(0x9E3779B1), column)
    return filled
