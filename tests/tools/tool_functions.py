"""Functions of an airline that tests name as live tools."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

_FLIGHTS = {("Lisbon", "Oslo"): "TP1", ("Rome", "Oslo"): "AZ2"}


def search_flights(origin: str, destination: str, seats: int = 1, cabins: Any = ()) -> Any:
    """Find flights, and print a line that belongs to nobody."""
    print("searching")
    return {"flight": _FLIGHTS.get((origin, destination)), "seats": seats}


async def cancel(booking: str, fee: float = 0.0) -> str:
    """Cancel a booking, or go wrong in the way that it names."""
    if booking == "hang":
        time.sleep(600)
    elif booking == "crash":
        os.abort()
    elif booking == "exit":
        sys.exit(3)
    elif booking == "read":
        return sys.stdin.read()
    elif booking == "long":
        return "x" * 2_000_000
    elif booking == "surrogate":
        return "\ud800"
    elif booking == "raise":
        raise LookupError(f"no booking\n{booking}")
    return f"Cancelled {booking}"


def unreadable() -> object:
    """Return what is not JSON."""
    return object()


class Counter:
    """Tools with state."""

    def __init__(self) -> None:
        self._count = 0

    def never(self) -> int:
        """Count the calls."""
        self._count += 1
        return self._count


COUNTER = Counter()
TOOLS = {"search_flights": search_flights, "cancel": cancel, "never": unreadable}
WRONG = {"search_flights": None}
NOTHING: dict[str, Any] = {}
