"""Behaviour cloning: a first policy from the candidates that were the best in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.encoders.candidates import CandidateSource
from agent_gym_env.extras import require
from agent_gym_env.policies.candidate_network import CandidateNetwork
from agent_gym_env.training.hindsight import Hindsight

require("torch", extra="sb3")

import torch  # noqa: E402


class Demonstrations(NamedTuple):
    """Situations, and which candidate was the best in each.

    Attributes:
        vectors: float32, shape ``(n, size)``.
        masks: booleans, shape ``(n, k)``: which numbers have a candidate.
        labels: int64, shape ``(n,)``.
    """

    vectors: NDArray[np.float32]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]


def demonstrate(
    env: gym.Env[NDArray[np.float32], np.int64],
    source: CandidateSource,
    dialogue_ids: Sequence[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Demonstrations:
    """Play dialogues by what the source puts first, and note which candidate was the best.

    To play the best itself would show situations that no policy gets into, who cannot know it.

    Args:
        env: `EncodeObservation` around `CandidateAction`.
        source: the one that proposes the candidates there.
        dialogue_ids: what is played.
        on_progress: called with the number of dialogues done and of all.
    """
    k = env.get_wrapper_attr("k")
    hindsight = Hindsight(env, source, k)
    rows: list[tuple[Any, Any, int]] = []
    for done, dialogue_id in enumerate(dialogue_ids, start=1):
        vector, _ = env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            best = int(hindsight.values(env.get_wrapper_attr("candidates")).argmax())
            rows.append((vector, env.get_wrapper_attr("action_masks")(), best))
            vector, _, over, _, _ = env.step(np.int64(0))
        if on_progress is not None:
            on_progress(done, len(dialogue_ids))
    vectors, masks, labels = zip(*rows, strict=True)
    return Demonstrations(np.stack(vectors), np.stack(masks), np.array(labels))


def clone(
    network: CandidateNetwork,
    shown: Demonstrations,
    *,
    epochs: int,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    """Teach a network to choose what was demonstrated.

    Args:
        network: is changed.
        shown: what it learns.
        epochs: how many times it sees each situation.
        batch_size: situations in a step.
        learning_rate: of Adam.
        seed: of the order of situations.

    Returns:
        The mean cross-entropy of each epoch.
    """
    vectors, masks, labels = (torch.from_numpy(array) for array in shown)
    optimizer = torch.optim.Adam(network.actor_parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(epochs):
        total = 0.0
        order = torch.randperm(len(labels), generator=generator)
        for batch in torch.split(order, batch_size):
            scores = network.forward_actor(vectors[batch])
            scores = scores.masked_fill(~masks[batch], -torch.inf)
            loss = torch.nn.functional.cross_entropy(scores, labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(batch)
        losses.append(total / len(labels))
    return losses
