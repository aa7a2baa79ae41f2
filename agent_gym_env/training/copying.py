"""A beginning for tiny models: attention that finds where the same word stood before and copies on.

Much of what an agent in a dialogue writes is copied: a name out of the conversation into a call, a
time out of a result into a reply. The circuit for it has two steps (an "induction head"; Olsson et
al., 2022, https://arxiv.org/abs/2209.11895): a layer tells each place what stood before it, and
attention looks for the places that follow the word it is at, and repeats what it finds there.
Training a small model on conversations takes millions of tokens until this emerges. Here it is
written into the first weights, in the spirit of mimetic initialisation (Trockman and Kolter, 2023,
https://arxiv.org/abs/2305.09828), and practised on random tokens before the first conversation.
"""

from __future__ import annotations

import random
from typing import Any

from agent_gym_env.extras import require
from agent_gym_env.training.config import OnProgress

require("torch", extra="train")

import torch  # noqa: E402  (`require` first says where it comes from)

_GAIN = 1.5
"""Of queries and keys: how sharply attention tells the same word from another at first."""

_SEQUENCES, _LENGTH = 24, 192
"""Of one batch of practice."""

_LONGEST_CHUNK = 12
_REPEATED = 0.7
"""Share of the chunks that repeat what stood before."""


@torch.no_grad()
def begin_with_copying(model: Any) -> None:
    """Write first weights of LFM2's architecture, so that the model copies to a degree.

    Only the first convolution and the first layer of attention after it add something; all other
    layers begin as if they were not there.

    Args:
        model: an ``Lfm2ForCausalLM`` whose ``conv_bias`` is set.
    """
    config = model.config
    size = config.hidden_size
    scale = size**-0.5
    before: torch.Tensor | None = None
    is_written = False
    for layer in model.model.layers:
        layer.feed_forward.w2.weight.zero_()
        if not layer.is_attention_layer:
            shift = _orthogonal(size)
            _open_gates(layer.conv, shift)
            if before is None:
                # Each place learns what stood one place before it, turned by ``shift`` so that it
                # does not mix with what stands at the place itself.
                layer.conv.conv.weight[:, 0, -2] += 1.0
                layer.conv.out_proj.weight.copy_(scale * torch.eye(size))
                before = shift
            continue
        attention = layer.self_attn
        queries, values = _orthogonal(size), _orthogonal(size)
        attention.q_proj.weight.copy_(queries)
        attention.k_proj.weight.copy_(queries)
        attention.q_layernorm.weight.fill_(_GAIN)
        attention.k_layernorm.weight.fill_(_GAIN)
        attention.v_proj.weight.copy_(values)
        attention.out_proj.weight.zero_()
        if before is not None and not is_written:
            # What is at this place is looked for in what stood before others.
            attention.k_proj.weight.copy_(queries @ before.T)
            attention.out_proj.weight.copy_(scale * values.T)
            is_written = True


def practise_copying(
    model: Any,
    *,
    steps: int,
    first_token: int,
    learning_rate: float = 3e-3,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> None:
    """Train a model to go on with what it has seen before, in sequences of random tokens.

    Args:
        model: a causal language model.
        steps: batches of 4,608 tokens.
        first_token: those below it are special and are left out.
        learning_rate: of AdamW, after a warmup over a tenth of the steps.
        seed: of the sequences.
        on_progress: called with ``practice`` and the numbers of steps done and of all.
    """
    draws = random.Random(seed)
    tokens = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / max(1, steps // 10))
        ids, is_known = _repetitions(first_token, model.config.vocab_size, draws, tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[:, :-1][is_known[:, 1:]])
        loss = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][is_known[:, 1:]])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if on_progress is not None:
            on_progress("practice", step + 1, steps)
    model.eval()


def _open_gates(conv: Any, turn: torch.Tensor) -> None:
    """Let a gated convolution begin as a plain one, which adds nothing yet."""
    size = len(turn)
    for part in (conv.in_proj, conv.conv, conv.out_proj):
        part.bias.zero_()
    conv.in_proj.bias[: 2 * size] = 1.0
    torch.nn.init.normal_(conv.in_proj.weight[: 2 * size], std=0.1 * size**-0.5)
    conv.in_proj.weight[2 * size :] = turn
    torch.nn.init.normal_(conv.conv.weight, std=0.05)
    conv.out_proj.weight.zero_()


def _orthogonal(size: int) -> torch.Tensor:
    return torch.nn.init.orthogonal_(torch.empty(size, size))


def _repetitions(
    first: int, vocabulary: int, draws: random.Random, tokens: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw sequences some of whose chunks repeat earlier ones, and say which tokens that tells."""
    ids = torch.randint(first, vocabulary, (_SEQUENCES, _LENGTH), generator=tokens)
    is_known = torch.zeros_like(ids, dtype=torch.bool)
    for sequence, known in zip(ids, is_known, strict=True):
        place = draws.randint(_LONGEST_CHUNK + 4, 40)
        while place < _LENGTH - 2:
            length = min(draws.randint(2, _LONGEST_CHUNK), _LENGTH - place)
            if draws.random() < _REPEATED:
                begin = draws.randint(0, place - length - 1)
                sequence[place : place + length] = sequence[begin : begin + length].clone()
                # The first of a chunk cannot be foretold.
                known[place + 1 : place + length] = True
            place += length
    return ids, is_known
