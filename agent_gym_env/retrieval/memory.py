"""All that is learned of a train split, and the file that keeps it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.chooser import BITS, Chooser
from agent_gym_env.retrieval.index import Index
from agent_gym_env.retrieval.situations import PHASES
from agent_gym_env.retrieval.templates import Template
from agent_gym_env.retrieval.vocabulary import Vocabulary
from agent_gym_env.storage.array_file import Arrays, read_arrays, write_arrays

_LARGEST = 1 << 31
"""Bytes of what may be learned; all of SGD takes 40 MB."""


class Memory:
    """What a split teaches: words, choices, and replies by situation.

    Args:
        vocabulary: what is known of words.
        chooser: answers the questions of listening.
        index: the recorded situations; its groups are `PHASES`.
        templates: the recorded replies as JSON, one after another.
        template_begins: where each reply's template begins, shape ``(documents + 1,)``.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        chooser: Chooser,
        index: Index,
        templates: bytes,
        template_begins: NDArray[np.int64],
    ) -> None:
        self.vocabulary = vocabulary
        self.chooser = chooser
        self.index = index
        self._templates = templates
        self._begins = template_begins
        self._decode = msgspec.json.Decoder(Template).decode

    def template(self, document: int) -> Template:
        """Give the reply of a recorded situation."""
        return self._decode(self._templates[self._begins[document] : self._begins[document + 1]])

    def save(self, path: Path) -> None:
        """Write it to a file that appears when it is whole.

        Raises:
            StorageError: the disk does not take it.
        """
        arrays = {
            "choices": self.chooser.weights,
            "templates": np.frombuffer(self._templates, np.uint8),
            "template_begins": self._begins,
            **self.index._asdict(),
        }
        write_arrays(path, self.vocabulary, arrays)

    @classmethod
    def load(cls, path: Path) -> Memory:
        """Read it from a file.

        Raises:
            DataError: the file is missing or damaged.
        """
        vocabulary, arrays = read_arrays(path, Vocabulary, what="memory", largest=_LARGEST)
        try:
            _check(arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is not a memory: {error}", file=str(path)) from error
        return cls(
            vocabulary,
            Chooser(arrays["choices"]),
            Index(**{name: arrays[name] for name in Index._fields}),
            arrays["templates"].tobytes(),
            arrays["template_begins"],
        )


def _check(arrays: Arrays) -> None:
    """Check that arrays fit together, so that no search leaves them.

    Raises:
        KeyError: one is missing.
        TypeError: one is a single number.
        ValueError: one is not as `Memory` needs it.
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
            raise ValueError(f"{name} has shape {found.shape} and numbers of {found.dtype}")
    for name, end in (
        ("template_begins", len(arrays["templates"])),
        ("begins", len(arrays["documents"])),
        ("groups", documents),
    ):
        places = arrays[name]
        if places[0] != 0 or places[-1] != end or (np.diff(places) < 0).any():
            raise ValueError(f"{name} does not go from 0 to {end}")
    if not ((arrays["documents"] >= 0) & (arrays["documents"] < documents)).all():
        raise ValueError(f"documents are not among the {documents} that there are")
