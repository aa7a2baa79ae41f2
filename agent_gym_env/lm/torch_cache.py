"""The memory of a model for tokens that it has read: how it is batched and kept between answers.

- `batching` finds out which prompts may share a batch so that no answer depends on its neighbours.
- `PagePool` keeps keys and values between answers, so that a common beginning is read once.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from agent_gym_env.extras import require

torch: Any = require("torch", extra="train")
_cache_utils: Any = require("transformers.cache_utils", extra="train")

PAGE = 16
"""Tokens in a page: their keys and values are stored and removed together."""

_GROWTH = 64
"""Tokens by which a full batch cache grows."""

_ATTENTION = (_cache_utils.DynamicLayer, _cache_utils.DynamicSlidingWindowLayer)
_JOINED = (
    *_ATTENTION,
    _cache_utils.LinearAttentionLayer,
    _cache_utils.LinearAttentionAndFullAttentionLayer,
    _cache_utils.LinearAttentionAndSlidingWindowAttentionLayer,
)
_DISTANCES_BY_PLACE = ("gpt_neo",)
"""Architectures with local attention that counts places in the cache and not positions."""


class Batching(msgspec.Struct, frozen=True):
    """The ways in which a model may be batched.

    Attributes:
        together: whether prompts of different lengths may share a batch.
        padded: whether they may be read with padding in front. Attention masks it. A convolution or
            a recurrence does not always: with biases, zeros in are not zeros out.
        gaps: whether masked places may lie between tokens, too.
        tokens: length from which on a row must be alone, since it changes how all rows of its batch
            encode positions; ``None`` for none.
    """

    together: bool
    padded: bool
    gaps: bool
    tokens: int | None


def batching(model: Any, cache: Any, *, keeps_state: bool) -> Batching:
    """Find out how a model may be batched.

    Args:
        model: a causal language model of transformers.
        cache: a cache that the model has written to.
        keeps_state: whether it has also kept state outside of the cache.
    """
    config = model.config.get_text_config()
    together = (
        not keeps_state
        and "position_ids" in forward_arguments(model)
        and all(type(layer) in _JOINED for layer in cache.layers)
    )
    padded = together and all(type(layer) in _ATTENTION for layer in cache.layers)
    return Batching(
        together=together,
        padded=padded,
        gaps=padded and config.model_type not in _DISTANCES_BY_PLACE,
        tokens=_tokens_of_fixed_rotation(config),
    )


def forward_arguments(model: Any) -> Collection[str]:
    """Return the names of what a model's ``forward`` takes, seen through an adapter of PEFT."""
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    return inspect.signature(bare.forward).parameters.keys()


def is_empty(cache: Any) -> bool:
    """Return whether nothing was written to a cache."""
    return not any(
        isinstance(state, torch.Tensor) and state.numel() > 1
        for layer in cache.layers
        for state in _flat(vars(layer).values())
    )


def states(model: Any) -> dict[tuple[str, str], int]:
    """Identify the states of rows that modules of a model hold, beside weights and buffers."""
    return {
        (path, name): id(value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor) and value.dim() > 1
    }


def joined(caches: Sequence[Any]) -> Any:
    """Join the caches of several batches to one, in place of the first.

    Args:
        caches: caches of batches that have read different numbers of tokens.

    Returns:
        A cache with the rows of all. Keys and values of fewer tokens get zeros in front.
    """
    first = caches[0]
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        for name in list(vars(layers[0])):
            setattr(layers[0], name, _together([getattr(layer, name) for layer in layers], name))
    return first


def padded_left(tensor: Any, length: int, *, dim: int) -> Any:
    """Pad a tensor with zeros in front, up to a length."""
    missing = list(tensor.shape)
    missing[dim] = length - tensor.shape[dim]
    return torch.cat((tensor.new_zeros(missing), tensor), dim=dim)


def _together(values: Sequence[Any], name: str) -> Any:
    """Join one attribute of layers: states row by row, keys and values up to the longest."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _together([value[key] for value in values], name) for key in first}
    if name in ("keys", "values") and first is not None:
        longest = max(value.shape[2] for value in values)
        return torch.cat([padded_left(value, longest, dim=2) for value in values])
    if isinstance(first, torch.Tensor) and first.dim():
        return torch.cat(list(values))
    return max(values) if name == "cumulative_length" else first


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from value.values() if isinstance(value, dict) else (value,)


def _tokens_of_fixed_rotation(config: Any) -> int | None:
    """Return the longest batch for which rotary embeddings are those of shorter ones."""
    settings = getattr(config, "rope_parameters", None) or {}
    # One set of parameters, or one for each type of layer.
    each = [settings, *(value for value in settings.values() if isinstance(value, dict))]
    limits = [
        found.get("original_max_position_embeddings") or config.max_position_embeddings
        for found in each
        if found.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(limits, default=None)


class BatchLayer(_cache_utils.CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer for a batch, in memory that is written in place.

    transformers' own `DynamicLayer` copies all of it for each token.

    Args:
        keys: keys so far, shape (rows, heads, tokens, features).
        values: values so far, of the same shape.
        room: number of further tokens to reserve memory for.
    """

    is_sliding = False

    def __init__(self, keys: Any, values: Any, room: int) -> None:
        super().__init__()
        self.length = keys.shape[2]
        self.keys, self.values = _grown(keys, room), _grown(values, room)
        self.is_initialized = True

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Do nothing."""

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Append keys and values; return all of them."""
        begin, self.length = self.length, self.length + key_states.shape[2]
        if self.length > self.keys.shape[2]:
            room = self.length - begin + _GROWTH
            self.keys = _grown(self.keys[:, :, :begin], room)
            self.values = _grown(self.values[:, :, :begin], room)
        self.keys[:, :, begin : self.length] = key_states
        self.values[:, :, begin : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many tokens are attended to, and the index of the first."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Count the tokens so far."""
        return int(self.length)

    def get_max_length(self) -> int:
        """Return -1: the length is not limited."""
        return -1


def _grown(tensor: Any, room: int) -> Any:
    rows, heads, tokens, features = tensor.shape
    # Zeros, since masked values are multiplied by 0, and NaN would stay NaN.
    grown = tensor.new_zeros(rows, heads, tokens + room, features)
    grown[:, :, :tokens] = tensor
    return grown


class PagePool:
    """Pages of keys and values, each identified by all tokens up to its end.

    Conversations with the same beginning share pages. When all pages are in use, the least recently
    used page is reused.

    Args:
        like: cache that the model has written to, for the shapes of its layers.
        max_bytes: largest size of all pages together.
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
        """Return the pages of the longest known beginning of a prompt, and mark them as used."""
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
        """Create the cache of a batch.

        Args:
            rows: pages of each row; shorter rows are padded with zeros in front.
            room: number of further tokens to reserve memory for.
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
        """Store the full pages that a row of a batch has computed.

        Args:
            tokens: tokens of the row whose keys and values are in the cache.
            known: number of pages at the beginning that came from this pool.
            cache: cache of the batch.
            row: index of the row in the batch.
            begin: index in the cache of the first token after the known pages.
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
        """Remove all pages, because the model's weights have changed."""
        self._pages.clear()

    def _place(self, name: bytes) -> int:
        """Assign a free number to a page."""
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
    """Return whether every layer of a model's cache keeps every token, and nothing else."""
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
