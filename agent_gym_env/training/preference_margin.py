"""By how much a model prefers the better message of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.extras import require

torch: Any = require("torch", extra="train")

LogProbabilities = NDArray[np.float64]
"""Of the chosen and of the rejected message of each pair, in nats; shape (pairs, 2)."""


class PreferenceReport(msgspec.Struct, frozen=True):
    """How a model has come to prefer the better messages of held-out pairs.

    Attributes:
        pairs: how many.
        margin_before: mean of log p(chosen) - log p(rejected), in nats, before the training.
        margin_after: the same after it.
        accuracy_before: share of the pairs of which the chosen message was the likelier one.
        accuracy_after: the same after the training.
        reward_margin: mean of what the training has added to the margin, times beta: what TRL calls
            ``rewards/margins``.
        reward_accuracy: share of the pairs to whose margin it has added.
    """

    pairs: int
    margin_before: float
    margin_after: float
    accuracy_before: float
    accuracy_after: float
    reward_margin: float
    reward_accuracy: float


def compare_preferences(
    before: LogProbabilities, after: LogProbabilities, *, beta: float
) -> PreferenceReport:
    """Compare two models on the same pairs.

    Args:
        before: of the model that was trained.
        after: of what it became.
        beta: of the training.
    """
    was, is_now = before[:, 0] - before[:, 1], after[:, 0] - after[:, 1]
    return PreferenceReport(
        pairs=len(was),
        margin_before=float(was.mean()),
        margin_after=float(is_now.mean()),
        accuracy_before=float((was > 0).mean()),
        accuracy_after=float((is_now > 0).mean()),
        reward_margin=float(beta * (is_now - was).mean()),
        reward_accuracy=float((is_now > was).mean()),
    )


def log_probabilities(model: Any, pairs: Any, *, pad: int, batch_size: int) -> LogProbabilities:
    """Ask a model how likely the messages of pairs are.

    Args:
        model: a causal language model.
        pairs: with ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``, as TRL's trainer has them.
        pad: token id that fills up a batch.
        batch_size: sequences that are read at once.
    """
    was_training = model.training
    model.eval()
    sums = np.zeros((len(pairs), 2))
    with torch.inference_mode():
        for column, name in enumerate(("chosen_ids", "rejected_ids")):
            for begin in range(0, len(pairs), batch_size):
                batch = pairs[begin : begin + batch_size]
                values = _sums(model, batch["prompt_ids"], batch[name], pad)
                sums[begin : begin + batch_size, column] = values
    model.train(was_training)
    return sums


def _sums(
    model: Any,
    prompts: Sequence[Sequence[int]],
    messages: Sequence[Sequence[int]],
    pad: int,
) -> Any:
    """Give the log-probability of each message after its prompt; shape (batch,)."""
    sequences = [[*prompt, *message] for prompt, message in zip(prompts, messages, strict=True)]
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad)
    read, said = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (sequence, prompt) in enumerate(zip(sequences, prompts, strict=True)):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        read[row, : len(sequence)] = 1
        said[row, len(prompt) : len(sequence)] = 1
    ids, read, said = (each.to(model.device) for each in (ids, read, said))
    logits = model(input_ids=ids, attention_mask=read).logits[:, :-1].float()
    chosen = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
    return (chosen * said[:, 1:]).sum(1).double().cpu().numpy()
