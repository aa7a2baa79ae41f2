"""The network that scores candidate actions, in torch."""

from __future__ import annotations

from agent_gym_env.extras import require

require("torch", extra="sb3")

import torch  # noqa: E402  (`require` first says where it comes from)
from torch import Tensor, nn  # noqa: E402

_NEARLY_UNIFORM = 0.01
"""Gain of the last layer's initial weights, as in stable-baselines3's action nets."""


class CandidateNetwork(nn.Module):
    """Scores all candidates with one small network, and computes features for the state's value.

    The candidates share the weights, so a score does not depend on the candidate's place in the
    list. The methods are those of an ``mlp_extractor`` of stable-baselines3.

    Args:
        conversation: length of the vector of a conversation.
        k: number of candidates.
        width: length of the vector of a candidate.
        hidden: number of units of each hidden layer.
    """

    def __init__(self, conversation: int, k: int, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.latent_dim_pi = k
        self.latent_dim_vf = hidden
        self._conversation = conversation
        self._rows = (k, width)
        self.context = nn.Linear(conversation, hidden)
        self.candidate = nn.Linear(width, hidden, bias=False)
        self.mixed = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.value_context = nn.Linear(conversation, hidden)
        self.value_candidate = nn.Linear(width, hidden, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Set the initial weights, with which all candidates have nearly equal scores."""
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, gain=2**0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.orthogonal_(self.score.weight, gain=_NEARLY_UNIFORM)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores, shape ``(n, k)``, and features of the value, shape ``(n, hidden)``."""
        return self.forward_actor(vectors), self.forward_critic(vectors)

    def forward_actor(self, vectors: Tensor) -> Tensor:
        """Return the logit of each candidate.

        Args:
            vectors: vectors of `EncodeObservation` around `CandidateAction`, shape ``(n, size)``.

        Returns:
            Shape ``(n, k)``.
        """
        conversation, rows = self._cut(vectors)
        hidden = torch.relu(self.candidate(rows) + self.context(conversation)[:, None])
        scores: Tensor = self.score(torch.relu(self.mixed(hidden)))
        return scores[..., 0]

    def forward_critic(self, vectors: Tensor) -> Tensor:
        """Return features from which the value of the state is computed, shape ``(n, hidden)``."""
        conversation, rows = self._cut(vectors)
        best = self.value_candidate(rows).amax(dim=1)
        return torch.relu(self.value_context(conversation) + best)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the weights that the scores depend on."""
        layers = (self.context, self.candidate, self.mixed, self.score)
        return [weights for layer in layers for weights in layer.parameters()]

    def _cut(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        rows = vectors[:, self._conversation :].reshape(-1, *self._rows)
        return vectors[:, : self._conversation], rows
