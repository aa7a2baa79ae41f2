"""All that is learned of a train split, and the file that keeps it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.disk import written_whole
from agent_gym_env.retrieval.chooser import Chooser
from agent_gym_env.retrieval.index import Index
from agent_gym_env.retrieval.templates import Template
from agent_gym_env.retrieval.vocabulary import Vocabulary

# What numpy and the standard library raise on damaged bytes.
_DAMAGE = (
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    msgspec.MsgspecError,
)


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
        vocabulary = msgspec.json.encode(self.vocabulary)
        with written_whole(path) as file:
            np.savez(
                file,
                vocabulary=np.frombuffer(vocabulary, np.uint8),
                choices=self.chooser.weights,
                templates=np.frombuffer(self._templates, np.uint8),
                template_begins=self._begins,
                **self.index._asdict(),
            )

    @classmethod
    def load(cls, path: Path) -> Memory:
        """Read it from a file.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is damaged.
        """
        with path.open("rb") as file:
            try:
                arrays = np.load(file, allow_pickle=False)
                return cls(
                    msgspec.json.decode(arrays["vocabulary"].tobytes(), type=Vocabulary),
                    Chooser(arrays["choices"]),
                    Index(**{name: arrays[name] for name in Index._fields}),
                    arrays["templates"].tobytes(),
                    arrays["template_begins"],
                )
            except _DAMAGE as error:
                raise ValueError(f"{path} is damaged: {error}") from error
