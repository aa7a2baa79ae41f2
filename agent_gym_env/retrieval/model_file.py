"""The model that is trained on a train split, and its file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.linear_classifier import BITS, LinearClassifier
from agent_gym_env.retrieval.neighbour_index import PHASES, NeighbourIndex
from agent_gym_env.retrieval.reply_templates import Template
from agent_gym_env.retrieval.vocabulary import Vocabulary
from agent_gym_env.storage.array_file import Arrays, read_arrays, write_arrays

_LARGEST = 1 << 31
"""Largest size of the arrays in bytes; a model of all of SGD takes 40 MB."""


class RetrievalModel:
    """Word counts, a classifier for understanding users, and replies by situation.

    Args:
        vocabulary: word counts of the train split.
        classifier: answers the questions of `agent_gym_env.retrieval.understanding`.
        index: index of the recorded situations; its groups are `PHASES`.
        templates: recorded replies as JSON, one after another.
        template_begins: byte at which each reply's template begins, int64, shape
            ``(documents + 1,)``.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        classifier: LinearClassifier,
        index: NeighbourIndex,
        templates: bytes,
        template_begins: NDArray[np.int64],
    ) -> None:
        self.vocabulary = vocabulary
        self.classifier = classifier
        self.index = index
        self._templates = templates
        self._begins = template_begins
        self._decode = msgspec.json.Decoder(Template).decode

    def template(self, document: int) -> Template:
        """Return the reply that was given in a recorded situation."""
        return self._decode(self._templates[self._begins[document] : self._begins[document + 1]])

    def save(self, path: Path) -> None:
        """Write the model to a file, which appears only when it is complete.

        Raises:
            StorageError: the file cannot be written.
        """
        arrays = {
            "choices": self.classifier.weights,
            "templates": np.frombuffer(self._templates, np.uint8),
            "template_begins": self._begins,
            **self.index._asdict(),
        }
        write_arrays(path, self.vocabulary, arrays)

    @classmethod
    def load(cls, path: Path) -> RetrievalModel:
        """Read a model from a file.

        Raises:
            DataError: the file is missing or damaged.
        """
        vocabulary, arrays = read_arrays(path, Vocabulary, what="retrieval model", largest=_LARGEST)
        try:
            _check(arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is not a retrieval model: {error}", file=str(path)) from error
        return cls(
            vocabulary,
            LinearClassifier(arrays["choices"]),
            NeighbourIndex(**{name: arrays[name] for name in NeighbourIndex._fields}),
            arrays["templates"].tobytes(),
            arrays["template_begins"],
        )


def _check(arrays: Arrays) -> None:
    """Check that the arrays fit together, so that no search leaves them.

    Raises:
        KeyError: an array is missing.
        TypeError: an array is a single number.
        ValueError: an array has another type, shape or content than `RetrievalModel` needs.
    """
    documents = len(arrays["norms"])
    lengths = {
        "choices": (np.float32, 1 << BITS),
        "templates": (np.uint8, None),
        "template_begins": (np.int64, documents + 1),
        "features": (np.uint32, None),
        "weights": (np.float32, len(arrays["features"])),
        "begins": (np.int64, len(arrays["features"]) + 1),
        "documents": (np.int32, None),
        "norms": (np.float32, documents),
        "groups": (np.int32, len(PHASES) + 1),
    }
    for name, (dtype, length) in lengths.items():
        found = arrays[name]
        if found.dtype != dtype or found.ndim != 1 or length not in (None, len(found)):
            raise ValueError(f"{name} has shape {found.shape} and type {found.dtype}")
    for name, end in (
        ("template_begins", len(arrays["templates"])),
        ("begins", len(arrays["documents"])),
        ("groups", documents),
    ):
        places = arrays[name]
        if places[0] != 0 or places[-1] != end or (np.diff(places) < 0).any():
            raise ValueError(f"{name} does not go from 0 to {end}")
    if not ((arrays["documents"] >= 0) & (arrays["documents"] < documents)).all():
        raise ValueError(f"documents has numbers outside 0 to {documents - 1}")
