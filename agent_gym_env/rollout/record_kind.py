"""What lies at a path: episodes or branch points."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.rollout.manifest import Kind, read_manifest
from agent_gym_env.storage.files import MAX_LINE_BYTES, open_file


class _Record(msgspec.Struct):
    """What tells a branch point from an episode."""

    branches: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def record_kind(paths: Sequence[Path]) -> Kind:
    """Tell what files or journals hold.

    Raises:
        DataError: one cannot be read, or they hold different things.
    """
    kinds = {path: _kind(path) for path in paths}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{path} {kind}" for path, kind in kinds.items())
        raise DataError(f"expected episodes only or branch points only, found: {found}")
    return kinds[paths[0]]


def _kind(path: Path) -> Kind:
    """Read no more than the first record; an empty file, or one of neither, has episodes."""
    if path.is_dir():
        manifest = read_manifest(path)
        return "episodes" if manifest is None else manifest.kind
    try:
        with open_file(path) as file:
            line = file.readline(MAX_LINE_BYTES)
        record = msgspec.json.decode(line.removeprefix(codecs.BOM_UTF8) or b"{}", type=_Record)
    except OSError as error:
        raise DataError(f"cannot read episodes: {error.strerror}", file=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "episodes"
    return "episodes" if record.branches is msgspec.UNSET else "branches"
