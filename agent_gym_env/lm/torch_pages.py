"""Keys and values of attention, kept between answers: what two prompts begin with is read once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from agent_gym_env.extras import require

torch: Any = require("torch", extra="train")
_cache_utils: Any = require("transformers.cache_utils", extra="train")

PAGE = 16
"""Tokens whose keys and values are kept together, and lost together."""

_GROWTH = 64
"""Tokens by which a full batch cache grows."""


class BatchLayer(_cache_utils.CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values for a batch under way, in memory that is written in place.

    transformers' own `DynamicLayer` copies all of it for each token.

    Args:
        keys: shape (rows, heads, tokens, features), the tokens so far.
        values: likewise.
        room: tokens that will come for certain.
    """

    is_sliding = False

    def __init__(self, keys: Any, values: Any, room: int) -> None:
        super().__init__()
        self.length = keys.shape[2]
        self.keys, self.values = _grown(keys, room), _grown(values, room)
        self.is_initialized = True

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """There is nothing to do."""

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Append keys and values; give all there are."""
        begin, self.length = self.length, self.length + key_states.shape[2]
        if self.length > self.keys.shape[2]:
            room = self.length - begin + _GROWTH
            self.keys = _grown(self.keys[:, :, :begin], room)
            self.values = _grown(self.values[:, :, :begin], room)
        self.keys[:, :, begin : self.length] = key_states
        self.values[:, :, begin : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Give how many tokens are attended to, and the place of the first."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Count the tokens so far."""
        return int(self.length)

    def get_max_length(self) -> int:
        """Say that there is no bound."""
        return -1


def _grown(tensor: Any, room: int) -> Any:
    rows, heads, tokens, features = tensor.shape
    # Zeros: what is masked is multiplied by 0, and not a number stays not a number.
    grown = tensor.new_zeros(rows, heads, tokens + room, features)
    grown[:, :, :tokens] = tensor
    return grown


class PagePool:
    """Pages of keys and values, each known by all the tokens up to its end.

    Conversations that begin alike share pages. When all are taken, the page that was not used for
    longest is given up.

    Args:
        like: a cache that the model has written to, for the shapes of its layers.
        max_bytes: of all pages.
    """

    def __init__(self, like: Any, max_bytes: int) -> None:
        # Page 0 is all zeros: it fills rows that have fewer pages.
        self._keys = [_zero_page(layer.keys) for layer in like.layers]
        self._values = [_zero_page(layer.values) for layer in like.layers]
        page_bytes = sum(page.nbytes for page in (*self._keys, *self._values))
        self.capacity = max(1, max_bytes // page_bytes)
        self._device = self._keys[0].device
        self._pages: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        """Count the pages in use."""
        return len(self._pages)

    def find(self, tokens: Sequence[int]) -> list[int]:
        """Give the pages of the longest known beginning of a prompt, and mark them as used."""
        found: list[bytes] = []
        for name in _names(tokens):
            if name not in self._pages:
                break
            found.append(name)
        # The first last: a page is of no use without the ones before it.
        for name in reversed(found):
            self._pages.move_to_end(name)
        return [self._pages[name] for name in found]

    def cache(self, rows: Sequence[Sequence[int]], room: int) -> Any:
        """Make the cache of a batch.

        Args:
            rows: pages of each row. Shorter ones get zeros in front.
            room: tokens that will come for certain.
        """
        longest = max(map(len, rows))
        table = torch.zeros(len(rows), longest, dtype=torch.long)
        for row, pages in zip(table, rows, strict=True):
            row[longest - len(pages) :] = torch.tensor(pages, dtype=torch.long)
        table = table.to(self._device)
        layers = [
            BatchLayer(_unpaged(keys, table), _unpaged(values, table), room + _GROWTH)
            for keys, values in zip(self._keys, self._values, strict=True)
        ]
        return _cache_utils.Cache(layers=layers)

    def keep(self, tokens: Sequence[int], known: int, cache: Any, row: int, begin: int) -> None:
        """Keep what a row of a batch has computed, as far as it fills pages.

        Args:
            tokens: of the row, whose keys and values are in the cache.
            known: how many pages at the beginning came from here.
            cache: of the batch.
            row: in it.
            begin: place in the cache of the first token behind the known pages.
        """
        fresh = [
            (place, name)
            for place, name in enumerate(_names(tokens))
            if place >= known and name not in self._pages
        ][: self.capacity]
        if not fresh:
            return
        numbers = [self._place(name) for _, name in reversed(fresh)][::-1]
        index = torch.tensor(numbers, device=self._device)
        starts = [begin + (place - known) * PAGE for place, _ in fresh]
        for layer, keys, values in zip(cache.layers, self._keys, self._values, strict=True):
            keys[index] = _cut(layer.keys[row], starts)
            values[index] = _cut(layer.values[row], starts)

    def clear(self) -> None:
        """Forget all: the model's weights have changed."""
        self._pages.clear()

    def _place(self, name: bytes) -> int:
        """Give a page its number, which nobody else has."""
        if len(self._pages) >= self.capacity:
            _, number = self._pages.popitem(last=False)
        else:
            number = len(self._pages) + 1
            self._grow(number)
        self._pages[name] = number
        return number

    def _grow(self, number: int) -> None:
        have = self._keys[0].shape[0]
        if number < have:
            return
        more = min(have, self.capacity + 1 - have)
        for tensors in (self._keys, self._values):
            for place, tensor in enumerate(tensors):
                new = tensor.new_zeros(more, *tensor.shape[1:])
                tensors[place] = torch.cat((tensor, new))


def can_be_paged(cache: Any) -> bool:
    """Say whether every layer of a model's cache keeps every token, and nothing but tokens."""
    return all(type(layer) is _cache_utils.DynamicLayer for layer in cache.layers)


def _zero_page(tensor: Any) -> Any:
    _, heads, _, features = tensor.shape
    return tensor.new_zeros(1, heads, PAGE, features)


def _names(tokens: Sequence[int]) -> Iterator[bytes]:
    """Name each whole page by the tokens up to its end."""
    data = np.asarray(tokens, dtype=np.int32).tobytes()
    digest = blake2b(digest_size=16)
    size = PAGE * 4
    for end in range(size, len(data) + 1, size):
        digest.update(data[end - size : end])
        yield digest.digest()


def _unpaged(pages: Any, table: Any) -> Any:
    """Lay pages side by side: shape (rows, heads, tokens, features)."""
    rows, count = table.shape
    _, heads, size, features = pages.shape
    chosen = pages[table.flatten()].view(rows, count, heads, size, features)
    return chosen.transpose(1, 2).reshape(rows, heads, count * size, features)


def _cut(row: Any, starts: Sequence[int]) -> Any:
    """Cut pages out of a row: shape (pages, heads, tokens, features)."""
    begin, end = starts[0], starts[-1] + PAGE
    pages = row[:, begin:end].unflatten(1, (-1, PAGE)).transpose(0, 1)
    if len(starts) == pages.shape[0]:
        return pages
    return pages[[(start - begin) // PAGE for start in starts]]
