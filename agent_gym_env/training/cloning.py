"""Behaviour cloning: a first policy from the candidates with the highest reward in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.encoders.candidates import CandidateSource
from agent_gym_env.extras import require
from agent_gym_env.training.demonstrations import Demonstrations
from agent_gym_env.training.hindsight import Hindsight

require("torch", extra="sb3")

import torch  # noqa: E402


def demonstrate(
    env: gym.Env[NDArray[np.float32], np.int64],
    source: CandidateSource,
    dialogue_ids: Sequence[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Demonstrations:
    """Play dialogues with the first candidate of each step, and record which one is the best.

    Playing the best candidate would lead to situations that a policy cannot reach, because it does
    not know which one is the best.

    Args:
        env: `EncodeObservation` around `CandidateAction`.
        source: source of the candidates in ``env``.
        dialogue_ids: dialogues to play.
        on_progress: called with how many dialogues are done and in total.
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


class Actor(Protocol):
    """A network that scores actions."""

    def forward_actor(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the score of each action, shape ``(n, k)``, for vectors of shape ``(n, size)``."""

    def actor_parameters(self) -> list[torch.nn.Parameter]:
        """Return the weights that the scores depend on."""


def clone(
    network: Actor,
    shown: Demonstrations,
    *,
    epochs: int,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    """Train a network to choose the demonstrated candidates.

    Args:
        network: network to change.
        shown: demonstrations.
        epochs: passes over the demonstrations.
        batch_size: situations in one step.
        learning_rate: learning rate of Adam.
        seed: seed of the order of situations.

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
