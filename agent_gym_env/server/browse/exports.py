"""Selected episodes as JSON lines: as they were recorded, or as rows for trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from agent_gym_env.export.from_episodes import conversations, labels, prompts
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import Episode

_encode = msgspec.json.Encoder().encode


def _recorded(episodes: Iterable[Episode]) -> Iterator[bytes]:
    return (_encode(episode) + b"\n" for episode in episodes)


def _rows(
    make: Callable[[Iterable[Episode], Tally], Iterator[Any]],
) -> Callable[[Iterable[Episode]], Iterator[bytes]]:
    def rows(episodes: Iterable[Episode]) -> Iterator[bytes]:
        return (_encode(row) + b"\n" for row in make(episodes, Tally()))

    return rows


EXPORTS: dict[str, Callable[[Iterable[Episode]], Iterator[bytes]]] = {
    "episodes": _recorded,
    "sft": _rows(conversations),
    "kto": _rows(labels),
    "grpo": _rows(prompts),
}
"""Functions that write episodes as JSON lines, by the names of ``agent-gym export --format``."""
