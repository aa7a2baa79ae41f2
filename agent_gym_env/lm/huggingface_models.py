"""Models in Hugging Face's layout: folders, and repositories on its hub.

`locate_model` finds a model by its name. Inside `reading_model` a damaged model raises `DataError`.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.extras import require, require_installed
from agent_gym_env.lm.named_models import fetched_folder
from agent_gym_env.process_wide import SharedChange
from agent_gym_env.storage.files import read_file

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[\w-])?(?:/[A-Za-z0-9](?:[\w.-]*[\w-])?)?", re.ASCII)
"""``name`` or ``owner/name``."""

_CONFIGS = ("config.json", "adapter_config.json")
_TIMEOUT_S = 10
_SHOWN = 6

_CHECKED_CONFIGS = ("config.json", "generation_config.json")
"""Files that are checked. transformers silently ignores the second one if it cannot read it."""

_LARGEST_CONFIG = 16 << 20
_COUNTED = re.compile(r"(layers?|experts|heads|blocks)$")
"""Names of settings that are numbers of parts of the model."""

_MOST_PARTS = 10_000
_LARGEST_NUMBER = 1 << 31


class ModelSource(msgspec.Struct, frozen=True):
    """The place from which transformers loads a model.

    Attributes:
        name: path of a folder, or name of a repository on the hub.
        local_files_only: whether the hub must not be asked. It is true for a folder, and for a
            cached repository if the hub cannot be reached.
    """

    name: str
    local_files_only: bool


def check_model_path(name: str | PathLike[str]) -> bool:
    """Check that a model's name is a folder with a model, or may be a name on the hub.

    This imports no library, so a mistyped path fails before anything slow begins.

    Args:
        name: path of a folder, name of a fetched model, or name of a repository.

    Returns:
        Whether it is a folder, or the name of a fetched model.

    Raises:
        DataError: it is a path, and no model lies there; or one of the models that
            ``agent-gym models fetch`` fetches, and it was not fetched.
        MissingDependency: transformers is not installed.
    """
    require_installed("transformers", extra="train")
    if fetched_folder(name) is not None:
        return True
    text = os.fspath(name)
    path = Path(text).expanduser()
    if os.path.isdir(path):
        _check_folder(path, text)
        return True
    if os.path.exists(path):
        raise DataError("expected a folder with a model, found a file", file=text)
    if not _may_be_on_hub(name):
        raise DataError(f"no such folder with a model; {_found_above(path)}", file=text)
    return False


def locate_model(name: str | PathLike[str]) -> ModelSource:
    """Find the model of a name. The hub is asked at most once, for a few seconds.

    Args:
        name: path of a folder, name of a fetched model, or name of a repository.

    Raises:
        DataError: no model of this name is in a folder, in the hub's cache or on the hub.
        MissingDependency: transformers is not installed.
    """
    if check_model_path(name):
        folder = fetched_folder(name) or Path(name).expanduser()
        return ModelSource(str(folder), local_files_only=True)
    hub: Any = require("huggingface_hub", extra="train")
    text = os.fspath(name)
    try:
        hub.HfApi().model_info(text, timeout=_TIMEOUT_S)
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        if not _is_cached(hub, text):
            raise DataError(
                "no such model: no folder has this name, the hub's cache "
                f"{hub.constants.HF_HUB_CACHE} does not have it, and {hub.constants.ENDPOINT} "
                f"answered: {_on_one_line(error)}",
                file=text,
            ) from error
        return ModelSource(text, local_files_only=True)
    return ModelSource(text, local_files_only=False)


def _may_be_on_hub(name: str | PathLike[str]) -> bool:
    """Return whether a name may be that of a repository, and is not a path.

    ``out/sft`` has the form of both. It is a path where there is a folder ``out``.
    """
    if not isinstance(name, str) or not _HUB_NAME.fullmatch(name):
        return False
    owner, slash, _ = name.partition("/")
    return not (slash and os.path.exists(owner))


def _check_folder(path: Path, text: str) -> None:
    if any((path / config).is_file() for config in _CONFIGS):
        return
    problem = f"expected a model in Hugging Face's layout, with {_CONFIGS[0]}; {_found_in(path)}"
    if (path / "model" / _CONFIGS[0]).is_file():
        problem += f". Did you mean {Path(text, 'model')}?"
    raise DataError(problem, file=text)


def _found_above(path: Path) -> str:
    """Describe the part of a path that exists."""
    missing = path.absolute()
    while not os.path.isdir(missing.parent):
        missing = missing.parent
    nearest = difflib.get_close_matches(missing.name, _names_in(missing.parent), 1)
    guess = f". Did you mean {missing.with_name(nearest[0])}?" if nearest else ""
    return f"{_found_in(missing.parent)}{guess}"


def _found_in(folder: Path) -> str:
    names = _names_in(folder)
    more = ", …" if len(names) > _SHOWN else ""
    return f"found in {folder}: {', '.join(names[:_SHOWN]) or 'nothing'}{more}"


def _names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))


def _is_cached(hub: Any, name: str) -> bool:
    return isinstance(hub.try_to_load_from_cache(name, _CONFIGS[0]), str)


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def reading_model(path: str | PathLike[str], what: str = "language model") -> Iterator[None]:
    """Raise `DataError` for any failure to load a model inside this context.

    Args:
        path: a folder in Hugging Face's layout, or a name on its hub.
        what: kind of thing that is loaded, for messages.

    Raises:
        DataError: it cannot be loaded; any exception of the library becomes this one.
    """
    place = os.fspath(path)
    for name in _CHECKED_CONFIGS:
        _check_config(Path(place) / name)
    try:
        yield
    except AgentGymError:
        raise
    # Tokenizers, safetensors and transformers raise many kinds of exceptions.
    except Exception as error:
        raise DataError(f"this is not a {what}: {error}", file=place) from error


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    logging = require("transformers", extra="train").utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


no_progress_bar = SharedChange(_without_progress_bar)
"""Hides the progress bars of transformers."""


def refuse_missing(path: str | PathLike[str], loading_info: dict[str, Any]) -> None:
    """Refuse a model with missing weights, which transformers would initialise at random.

    Args:
        path: path of the model.
        loading_info: the second value of ``from_pretrained(…, output_loading_info=True)``.

    Raises:
        DataError: weights are missing.
    """
    missing = sorted(loading_info["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"the weights lack {missing[0]}{more}", file=os.fspath(path))


def _check_config(path: Path) -> None:
    """Refuse a configuration whose numbers would keep a loader busy for hours."""
    if not os.path.exists(path):
        return  # A name on the hub, or a file that the loader reports as missing.
    try:
        config = msgspec.json.decode(read_file(path, largest=_LARGEST_CONFIG), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"this is not the configuration of a model: {error}", file=str(path)
        ) from error
    for name, number in _numbers("", config):
        most = _MOST_PARTS if _COUNTED.search(name) else _LARGEST_NUMBER
        if not -_LARGEST_NUMBER <= number <= most:
            raise DataError(f"{name} is {number}; at most {most} are read", file=str(path))


def _numbers(name: str, value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _numbers(key, inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _numbers(name, inside)
    elif isinstance(value, int):
        yield name, value
