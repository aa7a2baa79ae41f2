"""Loading of model folders in Hugging Face's layout: damaged ones raise `DataError`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.extras import require
from agent_gym_env.process_wide import SharedChange
from agent_gym_env.storage.files import read_file

_CONFIGS = ("config.json", "generation_config.json")
"""Files that are checked. transformers silently ignores the second one if it cannot read it."""

_LARGEST_CONFIG = 16 << 20
_COUNTED = re.compile(r"(layers?|experts|heads|blocks)$")
"""Names of settings that are numbers of parts of the model."""

_MOST_PARTS = 10_000
_LARGEST_NUMBER = 1 << 31


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
    for name in _CONFIGS:
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
