"""The policy that stable-baselines3 trained, for the unwrapped environment."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from agent_gym_env.encoders.candidates import CandidateEncoder, CandidateSource
from agent_gym_env.encoders.conversation import ConversationEncoder
from agent_gym_env.encoders.text import Encoder
from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.policies.sb3_file import (
    FORMAT,
    Candidates,
    Header,
    SavedCandidates,
    Shape,
    read_policy,
)
from agent_gym_env.storage.array_file import Arrays, write_arrays
from agent_gym_env.types import Action, Observation

require("torch", extra="sb3")

import torch  # noqa: E402  (`require` first says where it comes from)

from agent_gym_env.policies.candidate_network import CandidateNetwork  # noqa: E402


class SB3Policy:
    """Chooses among candidates with a trained network.

    It encodes the observation in the same way as the wrappers `CandidateAction` and
    `EncodeObservation`.

    Args:
        network: network that scores candidates.
        source: source of candidates.
        shape: sizes of network and encoder.
        encoder: encoder of texts; by default the hashing encoder of ``shape``.
        deterministic: whether the candidate with the highest score is taken, or one is drawn.
        name: name in reports.
        candidates: options of the source, which are saved with the policy.
        masked: whether the policy chooses among existing candidates only, or among all ``k``
            numbers, where a number without a candidate is an empty reply.
    """

    def __init__(
        self,
        network: CandidateNetwork,
        source: CandidateSource,
        shape: Shape,
        *,
        encoder: Encoder | None = None,
        deterministic: bool = True,
        name: str = "ppo",
        candidates: Mapping[Literal["training_dialogues", "indexed"], int] | None = None,
        masked: bool = True,
    ) -> None:
        self.name = name
        self.candidates: Candidates = dict(candidates or {})
        self.masked = masked
        self.network = network
        self.shape = shape
        self._source = source
        self._conversation = ConversationEncoder(encoder or shape.encoder())
        self._rows = CandidateEncoder(self._conversation.encoder, shape.k)
        self._deterministic = deterministic
        self._random = np.random.default_rng()

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Without a seed the sequence of draws continues."""
        if seed is not None:
            self._random = np.random.default_rng(seed)

    def act(self, observation: Observation) -> Action:
        """Return the chosen candidate; an empty reply if there is none."""
        candidates = self._source.candidates(observation, self.shape.k)[: self.shape.k]
        if not candidates:
            return Action()
        conversation = self._conversation.encode(observation)
        rows = self._rows.encode(self._conversation.state, candidates)
        vector = torch.from_numpy(np.concatenate((conversation, rows.ravel())))
        with torch.no_grad():
            scores = self.network.forward_actor(vector[None])[0]
        chosen = self._choice(scores[: len(candidates)] if self.masked else scores)
        return candidates[chosen].action if chosen < len(candidates) else Action()

    def _choice(self, scores: torch.Tensor) -> int:
        if self._deterministic:
            return int(scores.argmax())
        probabilities = torch.softmax(scores.double(), 0).numpy()
        return int(self._random.choice(len(probabilities), p=probabilities / probabilities.sum()))

    def save(self, path: str | PathLike[str]) -> None:
        """Write shape and weights into one ``.npz`` file of plain arrays, without pickle.

        Raises:
            StorageError: the file cannot be written.
        """
        # A comprehension, since a dict with fewer possible keys is another type to mypy.
        candidates: SavedCandidates = {name: n for name, n in self.candidates.items()}  # noqa: C416
        header = Header(FORMAT, self.name, self.shape, candidates, self.masked)
        weights = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
        write_arrays(Path(path), header, weights)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        source: CandidateSource,
        *,
        encoder: Encoder | None = None,
        deterministic: bool = True,
    ) -> SB3Policy:
        """Read a policy. Nothing in the file is executed, so it need not be trusted.

        Args:
            path: file that `save` wrote.
            source: source of candidates, preferably the one that the policy was trained with.
            encoder: encoder of texts, if the policy was trained with another than the hashing
                encoder.
            deterministic: as in `SB3Policy`.

        Raises:
            DataError: the file is not a saved policy.
            ValueError: the encoder is missing, or its vectors have another length.
        """
        header, weights = read_policy(Path(path))
        shape = header.shape
        if encoder is not None and encoder.dim != shape.encoder_dim:
            raise ValueError(
                f"the policy was trained with an encoder of {shape.encoder_dim} numbers, this one "
                f"has {encoder.dim}"
            )
        try:
            network = _network_of(shape, weights)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"the weights do not fit: {error}", file=str(path)) from error
        return cls(
            network,
            source,
            shape,
            encoder=encoder,
            deterministic=deterministic,
            name=header.name,
            candidates=header.source_options(),
            masked=header.masked,
        )


def _network_of(shape: Shape, weights: Arrays) -> CandidateNetwork:
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise ValueError(f"{name} contains NaN or infinity, or is not float32")
    with torch.device("meta"):  # The header may promise more than memory holds.
        network = shape.network()
    network.load_state_dict(tensors, assign=True)
    return network
