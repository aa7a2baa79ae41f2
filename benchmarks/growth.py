"""A corpus made larger: its dialogues many times over, each time with different entities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any


def grow(corpus: Path, split: str, copies: int, target: Path) -> None:
    """Write a corpus with one split that has ``copies`` times the dialogues.

    The first copy is the original. In the others a dialogue has a new id, and the rows of its
    results new values wherever the caller did not choose the value: rows of another entity.
    """
    folder = target / split
    folder.mkdir(parents=True)
    shutil.copy(corpus / split / "schema.json", folder)
    shards = sorted((corpus / split).glob("dialogues_*.json"))
    dialogues = [dialogue for shard in shards for dialogue in json.loads(shard.read_text("utf-8"))]
    free = _free_slots(json.loads((folder / "schema.json").read_text("utf-8")))
    for copy in range(copies):
        shard = [_renamed(dialogue, copy, free) for dialogue in dialogues] if copy else dialogues
        (folder / f"dialogues_{copy + 1:03}.json").write_text(json.dumps(shard), "utf-8")


def _free_slots(schema: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Service and slot, for the slots that take any value."""
    return {
        (service["service_name"], slot["name"])
        for service in schema
        for slot in service["slots"]
        if not slot["is_categorical"]
    }


def _renamed(dialogue: dict[str, Any], copy: int, free: set[tuple[str, str]]) -> dict[str, Any]:
    turns = [
        {**turn, "frames": [_renamed_frame(frame, copy, free) for frame in turn["frames"]]}
        for turn in dialogue["turns"]
    ]
    return {**dialogue, "dialogue_id": f"{dialogue['dialogue_id']}_{copy:05}", "turns": turns}


def _renamed_frame(frame: dict[str, Any], copy: int, free: set[tuple[str, str]]) -> dict[str, Any]:
    if "service_call" not in frame:
        return frame
    chosen = frame["service_call"]["parameters"]
    rows = [
        {
            slot: f"{value} {copy}"
            if (frame["service"], slot) in free and slot not in chosen
            else value
            for slot, value in row.items()
        }
        for row in frame["service_results"]
    ]
    return {**frame, "service_results": rows}
