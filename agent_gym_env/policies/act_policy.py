"""A policy that chooses dialogue acts with a small trained network, in plain NumPy."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.corpus import Corpus
from agent_gym_env.errors import DataError
from agent_gym_env.policies.act_choices import CHOICES, ActChoices
from agent_gym_env.policies.acts_oracle import ToldActs
from agent_gym_env.policies.agent_wording import Style
from agent_gym_env.policies.oracle import HasUnwrapped
from agent_gym_env.policies.user_words import WordModels, WordsListener
from agent_gym_env.storage.array_file import Arrays, read_arrays, write_arrays
from agent_gym_env.types import Action, AtLeast0, Observation

FORMAT = 1
"""Format of a saved policy. Raise it with each change of the choices or of the features."""

Hears = Literal["words", "acts"]
_LARGEST = 1 << 26
_LAYERS = ("hidden_1", "hidden_2", "scores")
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Header of a saved policy.

    Attributes:
        format: format of the file.
        name: name of the policy in reports, which add "(told acts)" if it is told the user's acts.
        hears: what the policy hears of the user, as in `make_act_choices`.
        training_dialogues: as in `make_act_choices`.
        indexed: as in `make_act_choices`.
        wording: style of its words.
    """

    format: int
    name: str
    hears: Hears
    training_dialogues: _Count
    indexed: _Count
    wording: Style


class ActPolicy:
    """Takes the possible choice with the highest score.

    Args:
        choices: follows the dialogue.
        weights: weights and biases of two hidden layers and the scores, as float32: ``hidden_1``
            of shape ``(h, n)``, ``hidden_2`` ``(h, h)``, ``scores`` ``(20, h)``, and of each a
            ``…_bias``.
        header: what is saved beside them.

    Raises:
        ValueError: the weights have other shapes, or are not finite.
    """

    def __init__(self, choices: ActChoices, weights: Arrays, header: Header) -> None:
        _check_weights(weights, len(choices.features()))
        # Tables keep apart what was told the user's acts, which no agent can know.
        self.name = header.name if header.hears == "words" else f"{header.name} (told acts)"
        self._choices = choices
        self._weights = weights
        self._header = header

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._choices.reset()

    def act(self, observation: Observation) -> Action:
        """Return the action of the best possible choice."""
        choices = self._choices
        choices.observe(observation)
        scores = self.scores(choices.features())
        return choices.take(int(np.where(choices.mask(), scores, -np.inf).argmax()))

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the score of each choice, shape ``(20,)``, for the features of a dialogue."""
        found = features
        for layer in _LAYERS:
            found = self._weights[layer] @ found + self._weights[f"{layer}_bias"]
            if layer != _LAYERS[-1]:
                found = np.tanh(found)
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write the policy into one ``.npz`` file of plain arrays, without pickle.

        Raises:
            StorageError: the file cannot be written.
        """
        write_arrays(Path(path), self._header, self._weights)

    @classmethod
    def load(
        cls, env: HasUnwrapped, corpus: Corpus, *, path: str, hears: Hears | None = None
    ) -> ActPolicy:
        """Read a policy. Nothing in the file is executed, so it need not be trusted.

        Args:
            env: environment to be played.
            corpus: its corpus, from whose train split understanding words is learned.
            path: file that `save` wrote.
            hears: what the policy hears, if not what it heard in training. With ``words`` a policy
                that was told acts plays where nobody tells them.

        Raises:
            DataError: the file is not a saved policy.
            TypeError: the policy is told the user's acts, and the environment does not tell them.
        """
        header, weights = read_arrays(Path(path), Header, what="saved policy", largest=_LARGEST)
        if header.format != FORMAT:
            raise DataError(
                f"the policy's format is {header.format}, this version reads {FORMAT}", file=path
            )
        header = msgspec.structs.replace(header, hears=hears or header.hears)
        choices = make_choices(
            env,
            corpus,
            hears=header.hears,
            training_dialogues=header.training_dialogues,
            indexed=header.indexed,
            wording=header.wording,
        )
        try:
            return cls(choices, weights, header)
        except ValueError as error:
            raise DataError(f"the weights do not fit: {error}", file=path) from error


def make_choices(
    env: HasUnwrapped,
    corpus: Corpus,
    *,
    hears: Hears = "words",
    training_dialogues: AtLeast0 = 8000,
    indexed: AtLeast0 = 5000,
    wording: Style = "plain",
) -> ActChoices:
    """Make the memory and the choices of an agent; see `agent_gym_env.make_act_choices`.

    Args:
        env: the environment to be played.
        corpus: its corpus.
        hears: as there, like the rest.
        training_dialogues: as there.
        indexed: as there.
        wording: as there.
    """
    if hears == "acts":
        return ActChoices(ToldActs(env), wording)
    train = corpus.split("train")
    models = WordModels.of_split(train, training_dialogues=training_dialogues, indexed=indexed)
    return ActChoices(WordsListener(models), wording)


def _check_weights(weights: Arrays, size: int) -> None:
    hidden = weights["hidden_1"].shape[0] if "hidden_1" in weights else 0
    expected: dict[str, tuple[int, ...]] = {
        "hidden_1": (hidden, size),
        "hidden_2": (hidden, hidden),
        "scores": (len(CHOICES), hidden),
    }
    expected |= {f"{name}_bias": shape[:1] for name, shape in list(expected.items())}
    found = {name: array.shape for name, array in weights.items()}
    if found != expected or not hidden:
        raise ValueError(f"found arrays of shapes {found}, expected {expected}")
    for name, array in weights.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity, or is not float32")
