"""A copy of a corpus with a unique token for every text that an agent may not know yet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agent_gym_env.corpus.sgd import SPLITS

_TOKEN = re.compile(r"Q([USATPRG])(train|dev|test)(\d+)x(\d+)Q")


class Canary(NamedTuple):
    """Place of a unique token in the corpus.

    Attributes:
        kind: ``U`` and ``S`` for the words of user and system, ``A`` for dialogue acts, ``T`` for
            the user's state, ``P`` for a call's parameters and ``R`` for its results; ``G`` for a
            value of the user's goal.
        split: name of the split.
        dialogue: index of the dialogue in the split.
        turn: index of the agent's turn, from 0; of a ``G`` the number of the value.
    """

    kind: str
    split: str
    dialogue: int
    turn: int

    def __str__(self) -> str:
        return f"Q{self.kind}{self.split}{self.dialogue}x{self.turn}Q"


def canaries(*values: object) -> set[Canary]:
    """Find the tokens in what an environment gave."""
    text = "\n".join(map(_text, values))
    return {
        Canary(kind, split, int(dialogue), int(turn))
        for kind, split, dialogue, turn in _TOKEN.findall(text)
    }


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except ValueError:  # an integer of thousands of digits, which has no token
        return ""


def write_canary_corpus(original: Path, folder: Path) -> Path:
    """Write the copy; schemas stay as they are."""
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
        schema = (original / split / "schema.json").read_bytes()
        (folder / split / "schema.json").write_bytes(schema)
        dialogues = list(_dialogues(original / split))
        for place, dialogue in enumerate(dialogues):
            for number, turn in enumerate(dialogue["turns"]):
                _mark(turn, split, place, number // 2)
        (folder / split / "dialogues_001.json").write_text(json.dumps(dialogues))
    return folder


def write_goal_canaries(original: Path, folder: Path, split: str) -> Path:
    """Write a copy of a split in which every value of a goal is a token that no words say.

    The same value of a dialogue is the same token, in what the user wants and in the calls.
    """
    (folder / split).mkdir(parents=True)
    schema = (original / split / "schema.json").read_bytes()
    (folder / split / "schema.json").write_bytes(schema)
    dialogues = list(_dialogues(original / split))
    for place, dialogue in enumerate(dialogues):
        values: dict[str, str] = {}
        for turn in dialogue["turns"]:
            for frame in turn["frames"]:
                _mark_goal(frame, split, place, values)
    (folder / split / "dialogues_001.json").write_text(json.dumps(dialogues))
    return folder


def _mark_goal(frame: dict[str, Any], split: str, dialogue: int, values: dict[str, str]) -> None:
    def token(value: str) -> str:
        if value == "dontcare":
            return value
        return values.setdefault(value, str(Canary("G", split, dialogue, len(values))))

    for action in frame["actions"]:
        if action["act"] == "INFORM" and "state" in frame:
            action["canonical_values"] = [token(value) for value in action["canonical_values"]]
    if "service_call" in frame:
        parameters = frame["service_call"]["parameters"]
        frame["service_call"]["parameters"] = {s: token(v) for s, v in parameters.items()}


def _dialogues(split: Path) -> Iterator[dict[str, Any]]:
    for shard in sorted(split.glob("dialogues_*.json")):
        yield from json.loads(shard.read_text())


def _mark(turn: dict[str, Any], split: str, dialogue: int, number: int) -> None:
    def token(kind: str) -> str:
        return str(Canary(kind, split, dialogue, number))

    speaker = "U" if turn["speaker"] == "USER" else "S"
    turn["utterance"] += f" {token(speaker)}"
    for frame in turn["frames"]:
        for action in frame["actions"]:
            action["values"] = [f"{value} {token('A')}" for value in action["values"]]
            action["canonical_values"] = [token("A") for _ in action["canonical_values"]]
        if "state" in frame:
            values = frame["state"]["slot_values"]
            frame["state"]["slot_values"] = {slot: [token("T")] for slot in values}
            frame["state"]["requested_slots"].append(token("T"))
        if "service_call" in frame:
            parameters = frame["service_call"]["parameters"]
            frame["service_call"]["parameters"] = dict.fromkeys(parameters, token("P"))
            rows = frame["service_results"]
            frame["service_results"] = [
                {slot: f"{token('R')} {row} {slot}" for slot in cells}
                for row, cells in enumerate(rows)
            ]
