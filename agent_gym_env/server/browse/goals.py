"""Goals of simulated users, which an episode names and its corpus holds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.corpus.goals import Errand, Goal
from agent_gym_env.errors import AgentGymError
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.server.browse.runs import Run


class ShownErrand(NamedTuple):
    """An errand of a goal, for a page.

    Attributes:
        tool: full name of the errand's tool.
        values: values that the user wants, by slot.
        changes: whether the errand changes something, such as a booking.
    """

    tool: str
    values: dict[str, str]
    changes: bool


class Goals:
    """Reads goals from the corpora that the operator of the server allows.

    The corpus that a journal names is opened if it is one of these, since a corpus may be code of a
    user.

    Args:
        corpora: names and paths of the corpora.
    """

    def __init__(self, corpora: Sequence[str]) -> None:
        self._corpora = tuple(corpora)
        self._open = functools.lru_cache(maxsize=8)(_open)

    def errands(self, run: Run, episode: Episode) -> list[ShownErrand] | None:
        """Return the errands of a simulated user; ``None`` if the goal cannot be found."""
        user = episode.simulated_user
        if user is None:
            return None
        found = (self._goal(corpus, user.goal, episode) for corpus in self._candidates(run))
        goal = next(filter(None, found), None)
        return None if goal is None else [_shown(errand) for errand in goal.errands]

    def _goal(self, corpus: str, goal: str, episode: Episode) -> Goal | None:
        try:
            split = self._open(corpus, episode.schema_variant).split(episode.split)
            return split.goal(split.index(goal)) if split.fingerprint == episode.corpus else None
        except (AgentGymError, ValueError):
            return None  # the corpus does not exist, or lacks the split

    def _candidates(self, run: Run) -> tuple[str, ...]:
        world = {} if run.manifest is None else run.manifest.config.get("world", {})
        named = world.get("corpus") if isinstance(world, dict) else None
        return (named,) if isinstance(named, str) and named in self._corpora else self._corpora


def _open(corpus: str, schema_variant: str | None) -> Corpus:
    return open_corpus(corpus, schema_variant=schema_variant)


def _shown(errand: Errand) -> ShownErrand:
    voiced = {slot: values[-1] for slot, values in errand.voiced.items() if values}
    return ShownErrand(errand.tool, {**voiced, **(errand.final or {})}, errand.transactional)
