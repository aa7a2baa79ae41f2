"""How far a run has come."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Called with what is under way, how much of it is done, and of how much."""
