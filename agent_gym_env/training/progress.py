"""Callbacks for the progress and the measurements of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

OnProgress = Callable[[str, int, int], None]
"""Called with what is under way, how much of it is done, and of how much."""

OnMeasured = Callable[[Mapping[str, float]], None]
"""Called with measurements by name, such as ``loss``, when there are new ones."""
