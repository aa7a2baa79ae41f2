"""What flags say, put into the object that ``--config`` gives."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any


def with_flags(config: Mapping[str, Any], flags: Iterable[tuple[str, str, Any]]) -> dict[str, Any]:
    """Add the settings that flags give to those of ``--config``, at whatever depth they lie.

    Args:
        config: the object.
        flags: of each its name, the dotted path of the setting that it stands for, and its value;
            ``None`` where it was not given.

    Raises:
        ValueError: flag and object give the same setting.
    """
    settings = copy.deepcopy(dict(config))
    for flag, path, value in flags:
        if value is not None:
            _add(settings, path, value, flag)
    return settings


def _add(settings: dict[str, Any], path: str, value: Any, flag: str) -> None:
    *parents, name = path.split(".")
    place: Any = settings
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ValueError(f"--config: Expected `object` at `$.{parent}`, which {flag} adds to")
    if name in place:
        raise ValueError(f"{flag} and {path} in --config set the same thing: give one of them")
    place[name] = value
