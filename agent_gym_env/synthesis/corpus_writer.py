"""Writes a split of a corpus to disk so that it is never seen half-written."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.corpus.sgd import Dialogue, Service
from agent_gym_env.errors import StorageError
from agent_gym_env.synthesis.generate import DIALOGUES_PER_SHARD


def write_split(
    folder: Path,
    services: Sequence[Service],
    dialogues: Iterable[Dialogue],
    *,
    replace: bool = False,
) -> int:
    """Write ``schema.json`` and the shards of a split; all or nothing.

    Args:
        folder: the split's folder, such as ``corpus/train``.
        services: the split's schema.
        dialogues: an id that begins like ``7_`` puts its dialogue into shard 7, as SGD does, where
            the ids come in order; others fill shards of `DIALOGUES_PER_SHARD`.
        replace: put the split in the place of one that lies there.

    Returns:
        How many dialogues were written.

    Raises:
        StorageError: something lies there already, or the disk cannot take it.
    """
    count = 0
    with _fresh_folder(folder, replace=replace) as fresh:
        (fresh / "schema.json").write_text(_array(map(_service_text, services)), encoding="ascii")
        for number, members in _shards(dialogues):
            texts = [_dialogue_text(dialogue) for dialogue in members]
            (fresh / f"dialogues_{number:03}.json").write_text(_array(texts), encoding="ascii")
            count += len(texts)
    return count


def _shards(dialogues: Iterable[Dialogue]) -> Iterator[tuple[int, list[Dialogue]]]:
    """Yield shards with their numbers, which only rise, so that none replaces another."""
    last = -1
    for named, members in groupby(dialogues, key=_shard_of_id):
        at_once = DIALOGUES_PER_SHARD if named is None else None
        while shard := list(islice(members, at_once)):
            last = max(last + 1, 1) if named is None or named <= last else named
            yield last, shard


def _shard_of_id(dialogue: Dialogue) -> int | None:
    numbered = re.match(r"([0-9]{1,9})_", dialogue.dialogue_id)
    return None if numbered is None else int(numbered[1])


@contextmanager
def _fresh_folder(folder: Path, *, replace: bool) -> Iterator[Path]:
    """A folder to fill that takes its place only when it is filled."""
    if folder.exists() and not replace:
        raise StorageError(
            f"{folder} lies there already: remove it, or choose another folder to write to"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            fresh = Path(beside, "fresh")
            fresh.mkdir()
            yield fresh
            if folder.exists():
                os.replace(folder, Path(beside, "replaced"))
            os.replace(fresh, folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error


def _array(texts: Iterable[str]) -> str:
    return "[\n" + ",\n".join(texts) + "\n]\n"


def _service_text(service: Service) -> str:
    """One line for each slot and intent: small, and still good to read and to compare."""
    head = _json({"service_name": service.service_name, "description": service.description})
    slots = ",\n  ".join(_json(slot) for slot in service.slots)
    intents = ",\n  ".join(_json(intent) for intent in service.intents)
    return f'{head[:-1]},"slots":[\n  {slots}\n ],"intents":[\n  {intents}\n ]}}'


def _dialogue_text(dialogue: Dialogue) -> str:
    """One line for each turn."""
    head = _json({"dialogue_id": dialogue.dialogue_id, "services": dialogue.services})
    turns = ",\n  ".join(_json(turn) for turn in dialogue.turns)
    return f'{head[:-1]},"turns":[\n  {turns}\n ]}}'


def _json(value: object) -> str:
    fields = _without_none(msgspec.to_builtins(value))
    return json.dumps(fields, separators=(",", ":"))


def _without_none(value: Any) -> Any:
    """Leave out what does not apply, as SGD does, rather than write null."""
    if isinstance(value, dict):
        return {key: _without_none(it) for key, it in value.items() if it is not None}
    return [_without_none(it) for it in value] if isinstance(value, list) else value
