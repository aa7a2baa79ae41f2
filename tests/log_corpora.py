"""A small log of an assistant of an airline, whose tools are functions with JSON schemas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.types import ToolStatus

SEARCH = FunctionTool(
    "search_flights",
    "search_flights",
    "Find flights",
    {
        "type": "object",
        "properties": {
            "origin": {"type": "string"},
            "destination": {"type": "string"},
            "seats": {"type": "integer", "default": 1},
            "cabins": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["origin", "destination"],
    },
)
CANCEL = FunctionTool(
    "cancel",
    "cancel",
    "Cancel a booking",
    {
        "type": "object",
        "properties": {"booking": {"type": "string"}, "fee": {"type": "number"}},
        "required": ["booking"],
        "additionalProperties": False,
    },
)
NEVER = FunctionTool("never", "never", "A tool that nobody called", {"type": "object"})


def call(
    tool: FunctionTool, result: Any, status: ToolStatus = "success", round: int = 0, **said: Any
) -> RecordedCall:
    """Make a recorded call."""
    return RecordedCall(tool.name, said, status, msgspec.json.encode(result).decode(), {}, round)


def turn(user: str, text: str, *calls: RecordedCall) -> Turn:
    """Make a turn."""
    return Turn(user, text, "", calls[0] if calls else None, (), calls[1:])


LIS_OSL = call(SEARCH, {"flights": [{"id": "TP760", "price": 129.5, "seats": 12}]},
               origin="Lisbon", destination="Oslo")  # fmt: skip
OSL_LIS = call(SEARCH, {"flights": []}, origin="Oslo", destination="Lisbon", seats=2)
ROM_OSL = call(SEARCH, {"flights": [{"id": "AZ11", "price": 88, "seats": 3}]},
               origin="Rome", destination="Oslo", cabins=["economy", "first"])  # fmt: skip
REFUND = call(CANCEL, "Refunded 88.00 to the card", booking="R7", fee=0.5)
UNKNOWN = call(CANCEL, {"message": "no such booking"}, "error", booking="X1")

TASKS = (
    Task(
        "lisbon",
        ("search_flights", "cancel", "never"),
        (
            turn("Lisbon to Oslo, please.", "TP760 leaves Lisbon for 129.50.", LIS_OSL, OSL_LIS),
            turn("Thanks!", "You are welcome."),
        ),
        "2026-05-04",
        "You are the assistant of an airline.",
    ),
    Task(
        "rome",
        ("search_flights", "cancel", "never"),
        (
            turn("Rome to Oslo?", "AZ11 costs 88.", ROM_OSL),
            turn("Cancel R7 and X1.", "R7 is cancelled, X1 is unknown.", REFUND, UNKNOWN),
        ),
        None,
    ),
)


class AirlineLog:
    """Reader of the log."""

    name = "airline"

    def __init__(self, tasks: Sequence[Task] = TASKS, fingerprint: str = "1") -> None:
        self._tasks = tasks
        self._fingerprint = fingerprint

    def splits(self) -> list[str]:
        """Return the only split."""
        return ["train"]

    def fingerprint(self) -> str:
        """Return the version of the log."""
        return self._fingerprint

    def tools(self, split: str) -> list[FunctionTool]:
        """Return the tools."""
        return [SEARCH, CANCEL, NEVER]

    def dialogues(self, split: str) -> Iterator[Task]:
        """Yield the dialogues."""
        yield from self._tasks
