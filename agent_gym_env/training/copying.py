"""First weights with which a tiny model copies what it has read.

An agent copies much of what it writes: a name from the conversation into a call, a time from a
result into a reply. The circuit for copying is known as an induction head (Olsson et al., 2022,
https://arxiv.org/abs/2209.11895). One layer passes each position the token before it. Attention
then finds the positions that followed the current token earlier, and predicts the token found
there.

Trained on conversations alone, a small model needs millions of tokens until this circuit emerges.
Here it is written into the first weights, in the spirit of mimetic initialisation (Trockman and
Kolter, 2023, https://arxiv.org/abs/2305.09828), and then practised on random tokens.
"""

from __future__ import annotations

import random
from typing import Any

from agent_gym_env.extras import require
from agent_gym_env.training.config import OnProgress

require("torch", extra="train")

import torch  # noqa: E402  (`require` names the extra if it is missing)

_GAIN = 1.5
"""Scale of queries and keys: the sharpness of attention at the beginning."""

_SEQUENCES, _LENGTH = 24, 192
"""Size of one batch of practice; the length is in tokens."""

_LONGEST_CHUNK = 12
_REPEATED = 0.7
"""Share of the chunks that repeat earlier tokens."""


@torch.no_grad()
def begin_with_copying(model: Any) -> None:
    """Set the weights of a model with LFM2's architecture so that it copies to some degree.

    Only the first convolution and the first attention layer after it have an output; all other
    layers begin as the identity.

    Args:
        model: ``Lfm2ForCausalLM`` whose ``conv_bias`` is set.
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
                # Pass each position the token before it, rotated by ``shift`` so that it does not
                # mix with the position's own token.
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
            # Compare the token at this position with the tokens before other positions.
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
    """Train a model to continue repetitions in sequences of random tokens.

    Matrices are multiplied in float32: processors without bfloat16 instructions emulate them, eight
    times slower, and the weights should not depend on the processor more than they must.

    Args:
        model: causal language model.
        steps: number of batches, of 4,608 tokens each.
        first_token: lowest token id in the sequences; lower ones are special.
        learning_rate: learning rate of AdamW, after a warmup over a tenth of the steps.
        seed: seed of the sequences.
        on_progress: called with ``practice``, and how many steps are done and in total.
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
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, :-1][is_known[:, 1:]])
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][is_known[:, 1:]])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if on_progress is not None:
            on_progress("practice", step + 1, steps)
    model.eval()


def _open_gates(conv: Any, turn: torch.Tensor) -> None:
    """Set a gated convolution to begin as a plain one without an output."""
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
    """Draw sequences with repeated chunks, and mark the tokens that are predictable from them."""
    ids = torch.randint(first, vocabulary, (_SEQUENCES, _LENGTH), generator=tokens)
    is_known = torch.zeros_like(ids, dtype=torch.bool)
    for sequence, known in zip(ids, is_known, strict=True):
        place = draws.randint(_LONGEST_CHUNK + 4, 40)
        while place < _LENGTH - 2:
            length = min(draws.randint(2, _LONGEST_CHUNK), _LENGTH - place)
            if draws.random() < _REPEATED:
                begin = draws.randint(0, place - length - 1)
                sequence[place : place + length] = sequence[begin : begin + length].clone()
                # The first token of a chunk is not predictable.
                known[place + 1 : place + length] = True
            place += length
    return ids, is_known
