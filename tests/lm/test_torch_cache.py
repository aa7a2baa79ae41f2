from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from transformers.cache_utils import Cache, DynamicCache

from agent_gym_env.lm.torch_cache import PAGE, BatchLayer, PagePool, can_be_paged

HEADS, FEATURES = 2, 4
PAGE_BYTES = 2 * HEADS * PAGE * FEATURES * 4


def numbered(tokens: int, first: int = 0) -> torch.Tensor:
    """Keys of one row, every number its own."""
    count = HEADS * tokens * FEATURES
    return torch.arange(first, first + count, dtype=torch.float32).view(1, HEADS, tokens, FEATURES)


def written(tokens: int, first: int = 0) -> Any:
    """The cache of one row that has read some tokens."""
    keys = numbered(tokens, first)
    return Cache(layers=[BatchLayer(keys, -keys, room=8)])


def pool(pages: int = 100) -> PagePool:
    return PagePool(written(1), pages * PAGE_BYTES)


def test_what_was_kept_comes_back() -> None:
    tokens = list(range(2 * PAGE + 3))
    kept, cache = pool(), written(len(tokens))
    kept.keep(tokens, 0, cache, row=0, begin=0)
    pages = kept.find(tokens)
    assert len(pages) == 2
    (layer,) = kept.cache([pages], room=0).layers
    assert layer.get_seq_length() == 2 * PAGE
    assert torch.equal(layer.keys[:, :, : 2 * PAGE], numbered(len(tokens))[:, :, : 2 * PAGE])
    assert torch.equal(layer.values[:, :, : 2 * PAGE], -numbered(len(tokens))[:, :, : 2 * PAGE])


def test_a_prompt_shares_the_pages_it_begins_with() -> None:
    kept, same = pool(), list(range(PAGE))
    kept.keep(same + [7] * PAGE, 0, written(2 * PAGE), row=0, begin=0)
    assert len(kept.find(same + [7] * PAGE)) == 2
    assert len(kept.find(same + [8] * PAGE)) == 1
    assert kept.find([9, *same]) == []
    assert kept.find(same[:-1]) == []


def test_a_page_is_known_by_all_that_came_before_it() -> None:
    kept = pool()
    kept.keep([1] * PAGE + [2] * PAGE, 0, written(2 * PAGE), row=0, begin=0)
    assert kept.find([2] * PAGE) == []


def test_what_goes_on_is_added_behind_the_known_pages() -> None:
    tokens = list(range(3 * PAGE))
    kept = pool()
    kept.keep(tokens[:PAGE], 0, written(PAGE), row=0, begin=0)
    # The known page lies somewhere else in the cache; the rest begins at place 5.
    kept.keep(tokens, 1, written(5 + 2 * PAGE, first=10_000), row=0, begin=5)
    (layer,) = kept.cache([kept.find(tokens)], room=0).layers
    expected = torch.cat((numbered(PAGE), numbered(5 + 2 * PAGE, first=10_000)[:, :, 5:]), dim=2)
    assert torch.equal(layer.keys[:, :, : 3 * PAGE], expected)


def test_shorter_rows_get_zeros_in_front() -> None:
    kept = pool()
    kept.keep(list(range(2 * PAGE)), 0, written(2 * PAGE, first=1), row=0, begin=0)
    pages = kept.find(list(range(2 * PAGE)))
    (layer,) = kept.cache([pages, pages[:1], []], room=0).layers
    assert not layer.keys[1, :, :PAGE].any()
    assert torch.equal(layer.keys[1, :, PAGE : 2 * PAGE], layer.keys[0, :, :PAGE])
    assert not layer.keys[2, :, : 2 * PAGE].any()


def test_the_page_unused_for_longest_is_given_up() -> None:
    kept = pool(pages=2)
    kept.keep([1] * PAGE, 0, written(PAGE), row=0, begin=0)
    kept.keep([2] * PAGE, 0, written(PAGE), row=0, begin=0)
    kept.find([1] * PAGE)
    kept.keep([3] * PAGE, 0, written(PAGE), row=0, begin=0)
    assert len(kept) == 2
    assert [len(kept.find([n] * PAGE)) for n in (1, 2, 3)] == [1, 0, 1]


def test_of_more_pages_than_there_is_room_for_the_first_are_kept() -> None:
    kept, tokens = pool(pages=2), list(range(5 * PAGE))
    kept.keep(tokens, 0, written(len(tokens)), row=0, begin=0)
    pages = kept.find(tokens)
    assert len(pages) == 2
    (layer,) = kept.cache([pages], room=0).layers
    assert torch.equal(layer.keys[:, :, : 2 * PAGE], numbered(len(tokens))[:, :, : 2 * PAGE])


def test_a_batch_cache_grows_in_place_and_drops_rows() -> None:
    layer = BatchLayer(numbered(3).repeat(2, 1, 1, 1), numbered(3).repeat(2, 1, 1, 1), room=1)
    for _ in range(100):
        keys, _ = layer.update(torch.ones(2, HEADS, 1, FEATURES), torch.ones(2, HEADS, 1, FEATURES))
    assert keys.shape == (2, HEADS, 103, FEATURES)
    assert torch.equal(keys[:1, :, :3], numbered(3))
    assert keys[:, :, 3:].eq(1).all()
    layer.reorder_cache(torch.tensor([1]))
    assert layer.keys.shape[0] == 1


def test_forgetting_leaves_nothing() -> None:
    kept = pool()
    kept.keep([1] * PAGE, 0, written(PAGE), row=0, begin=0)
    kept.clear()
    assert (len(kept), kept.find([1] * PAGE)) == (0, [])


def test_layers_that_forget_tokens_cannot_be_paged() -> None:
    from transformers import Qwen2Config

    full = DynamicCache()
    full.update(numbered(1), numbered(1), 0)
    assert can_be_paged(full)
    sliding = Qwen2Config(
        num_hidden_layers=1, use_sliding_window=True, sliding_window=8, max_window_layers=0
    )
    assert not can_be_paged(DynamicCache(config=sliding))
