"""An MCP server of an airline: on standard input and output, or ``python mcp_server.py PORT``."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from mcp.server.mcpserver import MCPServer

_calls = 0


def search_flights(origin: str, destination: str, seats: int = 1) -> dict[str, Any]:
    """Find flights."""
    return {"flights": [f"{origin}-{destination}"], "seats": seats}


def cancel(booking: str, fee: float = 0.0) -> str:
    """Cancel a booking, or go wrong in the way that it names."""
    if booking == "hang":
        time.sleep(600)
    elif booking == "crash":
        os._exit(3)
    elif booking == "raise":
        raise LookupError("no such booking")
    elif booking == "long":
        return "x" * 2_000_000
    elif booking == "variables":
        seen = sorted(each for each in os.environ.items() if each[0].startswith("AIRLINE"))
        return json.dumps([f"{name}={value}" for name, value in seen])
    return f"Cancelled {booking}"


def never() -> int:
    """Count the calls."""
    global _calls
    _calls += 1
    return _calls


if __name__ == "__main__":
    server = MCPServer("airline")
    server.add_tool(search_flights)
    server.add_tool(cancel, structured_output=False)
    server.add_tool(never)
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
