"""A policy trained by stable-baselines3, which acts on the bare environment's observation."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from agent_gym_env.encoders.candidates import FACTS, CandidateEncoder, CandidateSource
from agent_gym_env.encoders.conversation import DEFAULT_DIM, FLAGS, TEXTS, ConversationEncoder
from agent_gym_env.encoders.text import Encoder, HashingEncoder
from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.storage.array_file import Arrays, read_arrays, write_arrays
from agent_gym_env.types import Action, Observation

require("torch", extra="sb3")

import torch  # noqa: E402  (`require` first says where it comes from)

from agent_gym_env.policies.candidate_network import CandidateNetwork  # noqa: E402

FORMAT = 1
"""Of a saved policy; raised whenever the numbers that its network reads change."""

_LARGEST = 1 << 28
"""Bytes of a policy's arrays."""

_Count = Annotated[int, msgspec.Meta(ge=0)]

Candidates = dict[Literal["training_dialogues", "indexed"], _Count]
"""Options of the source of candidates, see `agent_gym_env.retrieval.training.load_or_train`."""

_SavedCandidates = dict[Literal["training_dialogues", "indexed", "lessons"], _Count]
"""The same in a file: version 0.1 wrote ``lessons`` for ``training_dialogues``."""


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a policy is, beside its weights.

    Attributes:
        k: how many candidates it chooses among.
        encoder_dim: length of an encoded text.
        ngrams: of its hashing encoder; ``None`` with another encoder, which is not saved.
        hidden: units of each hidden layer.
    """

    k: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 16
    encoder_dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] = DEFAULT_DIM
    ngrams: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = 2
    hidden: Annotated[int, msgspec.Meta(ge=1, le=1 << 14)] = 64

    def encoder(self) -> Encoder:
        """Make the hashing encoder.

        Raises:
            ValueError: it was another one.
        """
        if self.ngrams is None:
            raise ValueError(
                f"the policy was trained with an encoder of its own, of {self.encoder_dim} "
                "numbers: pass it as encoder=…"
            )
        return HashingEncoder(self.encoder_dim, ngrams=self.ngrams)

    def network(self) -> CandidateNetwork:
        """Make a network of fresh weights."""
        conversation = len(TEXTS) * self.encoder_dim + len(FLAGS)
        width = len(FACTS) + self.encoder_dim
        return CandidateNetwork(conversation, self.k, width, self.hidden)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a saved policy begins with.

    Attributes:
        format: of the file.
        name: of the policy.
        shape: of network and encoder.
        candidates: the options of the source that the policy was trained with.
        masked: whether it chooses among the candidates that there are, or among all numbers.
    """

    format: int
    name: str
    shape: Shape
    candidates: _SavedCandidates = {}
    masked: bool = True

    def source_options(self) -> Candidates:
        """Return ``candidates`` by today's names, also if an older version saved the policy."""
        return {
            "training_dialogues" if name == "lessons" else name: count
            for name, count in self.candidates.items()
        }


class SB3Policy:
    """Chooses among candidates by a trained network.

    It makes of the bare observation what the wrappers `CandidateAction` and `EncodeObservation`
    make of it.

    Args:
        network: scores candidates.
        source: proposes them.
        shape: of network and encoder.
        encoder: of texts; by default that of the shape.
        deterministic: whether it takes the candidate with the highest score, or draws one.
        name: of the policy.
        candidates: the options of the source, kept with a saved policy.
        masked: whether it chooses among the candidates that there are, or among all ``k`` numbers,
            of which one without a candidate is silence.
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
        """Begin an episode; without a seed the draws go on where they were."""
        if seed is not None:
            self._random = np.random.default_rng(seed)

    def act(self, observation: Observation) -> Action:
        """Choose a candidate; silence where there is none."""
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
        """Write shape and weights into one ``.npz`` file: plain arrays, no pickle.

        Raises:
            StorageError: the disk does not take it.
        """
        candidates: _SavedCandidates = {name: n for name, n in self.candidates.items()}  # noqa: C416
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
        """Read a policy. Nothing in the file is executed, so that it need not be trusted.

        Args:
            path: a file that `save` wrote.
            source: proposes candidates, best the one that the policy was trained with.
            encoder: where the policy was trained with one of its own.
            deterministic: as in `SB3Policy`.

        Raises:
            DataError: the file is no such policy.
            ValueError: the encoder is missing, or of another length.
        """
        header, weights = _read(Path(path))
        shape = header.shape
        if encoder is not None and encoder.dim != shape.encoder_dim:
            raise ValueError(
                f"the policy was trained with an encoder of {shape.encoder_dim} numbers, this one "
                f"gives {encoder.dim}"
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


def read_header(path: str | PathLike[str]) -> Header:
    """Read what a saved policy is.

    Raises:
        DataError: the file is no such policy.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[Header, Arrays]:
    header, weights = read_arrays(path, Header, what="saved policy", largest=_LARGEST)
    if header.format != FORMAT:
        raise DataError(
            f"the policy's format is {header.format}, this version reads {FORMAT}", file=str(path)
        )
    return header, weights


def _network_of(shape: Shape, weights: Arrays) -> CandidateNetwork:
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.isfinite().all():
            raise ValueError(f"{name} holds other values than finite float32 numbers")
    with torch.device("meta"):  # The header may promise more than memory holds.
        network = shape.network()
    network.load_state_dict(tensors, assign=True)
    return network
