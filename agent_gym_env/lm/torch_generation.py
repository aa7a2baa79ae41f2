"""Generation with a causal language model: many prompts at once, and a cache between calls.

transformers' own `generate` caches nothing between calls, and its overhead per token is larger than
the work of a small model.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from agent_gym_env.extras import require
from agent_gym_env.lm.torch_cache import (
    PAGE,
    PagePool,
    batching,
    can_be_paged,
    forward_arguments,
    is_empty,
    joined,
    padded_left,
    states,
)

torch: Any = require("torch", extra="train")
_cache_utils: Any = require("transformers.cache_utils", extra="train")


class Guide(Protocol):
    """Decides which tokens may come next in one answer."""

    def fill(self, masks: npt.NDArray[np.int32], row: int) -> None:
        """Write the allowed next tokens into a row of bits, 32 tokens in an integer."""

    def advance(self, token: int) -> None:
        """Advance by one token."""

    def may_stop(self) -> bool:
        """Return whether the answer is complete."""

    def problem(self) -> str | None:
        """Return why the answer could not continue; ``None`` if it could."""


class Draft(msgspec.Struct, kw_only=True, eq=False):
    """One answer, from its prompt to its last token.

    Attributes:
        prompt: token ids of the prompt.
        max_tokens: limit of the answer, also of guided answers.
        temperature: sampling temperature; 0 for the likeliest token.
        random: random generator, used once for each token.
        stop: texts that end the answer.
        guide: guide that decides which tokens may come; ``None`` for any token.
        is_wanted: called at each token; the answer ends once it returns ``False``.
        tokens: tokens of the answer so far, including the end of the turn.
        finish: reason for the end; ``""`` while the answer is incomplete.
        reused: number of tokens of the prompt that were not read again.
    """

    prompt: list[int]
    max_tokens: int
    temperature: float = 0.0
    random: random.Random
    stop: tuple[str, ...] = ()
    guide: Guide | None = None
    is_wanted: Callable[[], bool] = lambda: True
    tokens: list[int] = []
    finish: Literal["", "stop", "length"] = ""
    reused: int = 0


class Generator:
    """Generates answers in batches.

    Args:
        model: causal language model of transformers, in evaluation mode.
        tokenizer: tokenizer of the model, for texts that end an answer.
        ends: tokens that end an answer.
        context: number of tokens that the model can read and write.
        cache_bytes: size of the keys and values kept between calls; 0 for none. It is not used for
            a model whose layers do not keep every token.

    Raises:
        ValueError: the model writes nothing to the cache that it is given.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, ends: frozenset[int], context: int, cache_bytes: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._ends = ends
        self._context = context
        before = states(model)
        cache = self._probe()
        self._batching = batching(model, cache, keeps_state=states(model) != before)
        is_paged = cache_bytes > 0 and self._batching.gaps and can_be_paged(cache)
        self.pool = PagePool(cache, cache_bytes) if is_paged else None

    def run(self, drafts: Sequence[Draft]) -> None:
        """Complete one batch of answers; no answer depends on the others."""
        together, alone = self._shared(drafts)
        with torch.inference_mode():
            if together:
                padded = self._batching.padded
                _Batch(self._model, self.pool, together, padded=padded).run(self._step)
            for draft in alone:
                _Batch(self._model, None, [draft], padded=True).run(self._step)

    def _shared(self, drafts: Sequence[Draft]) -> tuple[list[Draft], list[Draft]]:
        """Split drafts into those that may share a batch, shortest prompt first, and the others."""
        rows = sorted(drafts, key=_length)
        if not self._batching.together:
            return [], rows
        if self._batching.tokens is None:
            return rows, []
        answer = max((draft.max_tokens for draft in drafts), default=0)
        fits = [len(draft.prompt) + answer <= self._batching.tokens for draft in rows]
        return rows[: sum(fits)], rows[sum(fits) :]

    def _probe(self) -> Any:
        """Return the cache that the model has written to after one token."""
        cache = _cache_utils.DynamicCache(config=self._model.config)
        with torch.inference_mode():
            some = torch.zeros(1, 1, dtype=torch.long, device=self._model.device)
            self._model(input_ids=some, use_cache=True, **{cache_argument(self._model): cache})
        if is_empty(cache):
            raise ValueError(
                f"{type(self._model).__name__} writes nothing to the cache that transformers "
                "gives it, so it cannot go on token by token in this process: serve it by an "
                "engine that knows it, and use the client for that"
            )
        return cache

    def _step(self, drafts: Sequence[Draft], logits: Any) -> list[int]:
        """Choose the next token of each draft, and end the complete ones."""
        tokens = _chosen(drafts, _allowed(drafts, logits))
        for draft, token in zip(drafts, tokens, strict=True):
            if not draft.finish:
                draft.tokens.append(token)
                draft.finish = self._finish(draft, token)
        return tokens

    def _finish(self, draft: Draft, token: int) -> Literal["", "stop", "length"]:
        if token in self._ends:
            return "stop"
        if draft.guide is not None:
            draft.guide.advance(token)
        if draft.stop and any(text in self._text_of(draft) for text in draft.stop):
            return "stop"
        room = min(draft.max_tokens, self._context - len(draft.prompt))
        return "" if len(draft.tokens) < room and draft.is_wanted() else "length"

    def _text_of(self, draft: Draft) -> str:
        return str(self._tokenizer.decode(draft.tokens, skip_special_tokens=False))


def cache_argument(model: Any) -> str:
    """Return the name of the argument of a model's ``forward`` that takes its cache.

    transformers renamed ``past_key_values`` to ``cache`` in 5.24.
    """
    return "cache" if "cache" in forward_arguments(model) else "past_key_values"


class _Batch:
    """A batch under way.

    Each row of its cache has zeros, known pages, zeros, the rest of the prompt, and the answer.
    """

    def __init__(
        self, model: Any, pool: PagePool | None, drafts: Sequence[Draft], *, padded: bool
    ) -> None:
        self._model = model
        self._pool = pool
        self._drafts = list(drafts)
        self._padded = padded
        # The last token is always read: what comes next follows from it.
        self._pages = [pool.find(draft.prompt[:-1]) if pool else [] for draft in drafts]
        for draft, pages in zip(drafts, self._pages, strict=True):
            draft.reused = len(pages) * PAGE
        self._known = max(draft.reused for draft in drafts)
        self._unread = max(len(draft.prompt) - draft.reused for draft in drafts)
        self._cache_argument = cache_argument(model)

    def run(self, step: Any) -> None:
        """Alternate between the model and the choice of tokens until no row is left."""
        logits = self._read_prompts() if self._padded else self._read_prompts_apart()
        while True:
            tokens = step(self._drafts, logits)
            left = [row for row, draft in enumerate(self._drafts) if not draft.finish]
            # Copying the cache costs about what a few tokens do.
            if len(left) <= len(self._drafts) // 2:
                self._retire(left)
                tokens = [tokens[row] for row in left]
            if not left:
                return
            logits = self._read(tokens)

    def _new_cache(self) -> Any:
        if self._pool is None:
            return _cache_utils.DynamicCache(config=self._model.config)
        return self._pool.cache(self._pages, self._unread)

    def _read_prompts(self) -> Any:
        device = self._model.device
        rows, known, unread = len(self._drafts), self._known, self._unread
        ids = torch.zeros(rows, unread, dtype=torch.long)
        positions = torch.zeros(rows, unread, dtype=torch.long)
        mask = torch.zeros(rows, known + unread, dtype=torch.long)
        for row, draft in enumerate(self._drafts):
            rest = len(draft.prompt) - draft.reused
            ids[row, unread - rest :] = torch.tensor(draft.prompt[draft.reused :])
            positions[row, unread - rest :] = torch.arange(draft.reused, len(draft.prompt))
            mask[row, known - draft.reused : known] = 1
            mask[row, known + unread - rest :] = 1
        self._mask = mask.to(device)
        self._positions = positions[:, -1:].to(device)
        self._cache = self._new_cache()
        return self._forward(ids.to(device), positions.to(device))

    def _read_prompts_apart(self) -> Any:
        """Read the prompts of each length without padding, then put all rows into one cache."""
        read = []
        for same in _of_one_length(self._drafts):
            part = _Batch(self._model, None, same, padded=True)
            read.append((part._read_prompts(), part))
        self._mask = torch.cat([padded_left(part._mask, self._unread, dim=1) for _, part in read])
        self._positions = torch.cat([part._positions for _, part in read])
        self._cache = joined([part._cache for _, part in read])
        return torch.cat([logits for logits, _ in read])

    def _read(self, tokens: Sequence[int]) -> Any:
        self._positions = self._positions + 1
        one = self._mask.new_ones(len(tokens), 1)
        self._mask = torch.cat((self._mask, one), dim=1)
        ids = torch.tensor(tokens, device=self._mask.device)[:, None]
        return self._forward(ids, self._positions)

    def _forward(self, ids: Any, positions: Any) -> Any:
        return self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_argument: self._cache},
        ).logits[:, -1]

    def _retire(self, left: Sequence[int]) -> None:
        """Store the pages of rows that have ended, and continue without them."""
        for row in sorted(set(range(len(self._drafts))) - set(left)):
            self._keep(row)
        self._drafts = [self._drafts[row] for row in left]
        self._pages = [self._pages[row] for row in left]
        if left:
            index = torch.tensor(left, device=self._mask.device)
            self._mask = self._mask.index_select(0, index)
            self._positions = self._positions.index_select(0, index)
            for layer in self._cache.layers:
                layer.reorder_cache(index)

    def _keep(self, row: int) -> None:
        if self._pool is None:
            return
        draft = self._drafts[row]
        begin = self._known + self._unread - (len(draft.prompt) - draft.reused)
        # The last token was chosen, and not read.
        tokens = draft.prompt + draft.tokens[:-1]
        self._pool.keep(tokens, len(self._pages[row]), self._cache, row, begin)


def _allowed(drafts: Sequence[Draft], logits: Any) -> Any:
    """Set the logits of tokens that the guides exclude to minus infinity."""
    guides = [None if draft.finish else draft.guide for draft in drafts]
    if not any(guides):
        return logits
    words = -(-logits.shape[1] // 32)
    masks = np.full((len(drafts), words), -1, np.int32)
    for row, guide in enumerate(guides):
        if guide is not None:
            guide.fill(masks, row)
    bits = torch.from_numpy(masks).to(logits.device)[:, :, None] >> torch.arange(
        32, dtype=torch.int32, device=logits.device
    )
    allowed = (bits & 1).bool().flatten(1)[:, : logits.shape[1]]
    return logits.masked_fill(~allowed, float("-inf"))


def _chosen(drafts: Sequence[Draft], logits: Any) -> list[int]:
    """Choose the likeliest token, or draw one."""
    chosen: list[int] = logits.argmax(1).tolist()
    drawing = [row for row, draft in enumerate(drafts) if draft.temperature > 0]
    if drawing:
        drawn = _drawn([drafts[row] for row in drawing], logits[drawing])
        for row, token in zip(drawing, drawn, strict=True):
            chosen[row] = token
    return chosen


def _drawn(drafts: Sequence[Draft], logits: Any) -> list[int]:
    """Draw tokens by inverse transform sampling, with one number for each row.

    A row's draw depends on nothing beside it in the batch.
    """
    device = logits.device
    temperatures = [draft.temperature for draft in drafts]
    uniform = [draft.random.random() for draft in drafts]
    heat, height = torch.tensor([temperatures, uniform], dtype=torch.float64, device=device)[
        :, :, None
    ]
    # Subtracting the largest logit keeps quotients finite for any temperature.
    below = logits.double() - logits.max(1, keepdim=True).values
    total = torch.softmax(below / heat, dim=1).cumsum(1)
    drawn = torch.searchsorted(total, height * total[:, -1:], right=True)[:, 0]
    tokens: list[int] = drawn.clamp(max=logits.shape[1] - 1).tolist()
    return tokens


def batches(drafts: Sequence[Draft], size: int) -> Iterator[list[Draft]]:
    """Split drafts into batches of prompts of similar length."""
    by_length = sorted(drafts, key=_length)
    for begin in range(0, len(by_length), size):
        yield by_length[begin : begin + size]


def _of_one_length(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Split drafts that are sorted by the length of their prompts."""
    for _, same in itertools.groupby(drafts, key=_length):
        yield list(same)


def _length(draft: Draft) -> int:
    return len(draft.prompt)
