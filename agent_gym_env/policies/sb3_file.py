"""The file of a policy that stable-baselines3 trained, and the sizes of its network.

Nothing here needs torch, so the settings of a training run are read without it.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from agent_gym_env.encoders.candidates import FACTS
from agent_gym_env.encoders.conversation import DEFAULT_DIM, FLAGS, TEXTS
from agent_gym_env.encoders.text import Encoder, HashingEncoder
from agent_gym_env.errors import DataError
from agent_gym_env.storage.array_file import Arrays, read_arrays

if TYPE_CHECKING:
    from agent_gym_env.policies.candidate_network import CandidateNetwork

FORMAT = 1
"""Format of a saved policy. Raise it with each change of the vectors that its network reads."""

_LARGEST = 1 << 28
"""Largest size of a policy's arrays in bytes."""

_Count = Annotated[int, msgspec.Meta(ge=0)]

Candidates = dict[Literal["training_dialogues", "indexed"], _Count]
"""Options of the source of candidates, see `agent_gym_env.retrieval.training.load_or_train`."""

SavedCandidates = dict[Literal["training_dialogues", "indexed", "lessons"], _Count]
"""The same in a file: version 0.1 wrote ``lessons`` for ``training_dialogues``."""


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of a policy's network and encoder.

    Attributes:
        k: number of candidates.
        encoder_dim: length of an encoded text.
        ngrams: ``ngrams`` of the `HashingEncoder`; ``None`` for another encoder, which is not
            saved.
        hidden: number of units of each hidden layer.
    """

    k: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 16
    encoder_dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] = DEFAULT_DIM
    ngrams: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = 2
    hidden: Annotated[int, msgspec.Meta(ge=1, le=1 << 14)] = 64

    def encoder(self) -> Encoder:
        """Return the hashing encoder.

        Raises:
            ValueError: the policy was trained with another encoder.
        """
        if self.ngrams is None:
            raise ValueError(
                f"the policy was trained with another encoder than the hashing encoder, of "
                f"{self.encoder_dim} numbers: pass it as encoder=…"
            )
        return HashingEncoder(self.encoder_dim, ngrams=self.ngrams)

    def network(self) -> CandidateNetwork:
        """Return a network with initial weights.

        Raises:
            MissingDependency: torch is not installed.
        """
        from agent_gym_env.policies.candidate_network import CandidateNetwork

        conversation = len(TEXTS) * self.encoder_dim + len(FLAGS)
        width = len(FACTS) + self.encoder_dim
        return CandidateNetwork(conversation, self.k, width, self.hidden)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Header of a saved policy.

    Attributes:
        format: format of the file.
        name: name of the policy.
        shape: sizes of network and encoder.
        candidates: options of the source of candidates, as saved; see `source_options`.
        masked: whether the policy chooses among existing candidates only, or among all numbers.
    """

    format: int
    name: str
    shape: Shape
    candidates: SavedCandidates = {}
    masked: bool = True

    def source_options(self) -> Candidates:
        """Return ``candidates`` by today's names, also if an older version saved the policy."""
        return {
            "training_dialogues" if name == "lessons" else name: count
            for name, count in self.candidates.items()
        }


def read_header(path: str | PathLike[str]) -> Header:
    """Read the header of a saved policy.

    Raises:
        DataError: the file is not a saved policy.
    """
    return read_policy(Path(path))[0]


def read_policy(path: Path) -> tuple[Header, Arrays]:
    """Read the header and the weights of a saved policy.

    Raises:
        DataError: the file is not a saved policy.
    """
    header, weights = read_arrays(path, Header, what="saved policy", largest=_LARGEST)
    if header.format != FORMAT:
        raise DataError(
            f"the policy's format is {header.format}, this version reads {FORMAT}", file=str(path)
        )
    return header, weights
