"""Which prompts a model may read side by side so that no answer depends on those beside it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from agent_gym_env.extras import require

torch: Any = require("torch", extra="train")
_cache_utils: Any = require("transformers.cache_utils", extra="train")

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
