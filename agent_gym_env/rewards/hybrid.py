"""The reward that measures the first turn against the corpus and has the others judged."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, score_all


class HybridReward:
    """One reward for the first turn of a dialogue, another for those after it.

    A dialogue's first turn has one right answer more often than the later ones.

    Args:
        first: scores the first turn.
        later: scores the others.
    """

    name = "hybrid"

    def __init__(self, first: Reward, later: Reward) -> None:
        self._first = first
        self.later = later
        self.parts: tuple[str, ...] = tuple(dict.fromkeys((*first.parts, *later.parts)))

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn; the other reward's parts are ``None``."""
        return self.score_many([turn])[0]

    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        """Score several turns at once."""
        first = iter(score_all(self._first, [turn for turn in turns if turn.index == 0]))
        later = iter(score_all(self.later, [turn for turn in turns if turn.index > 0]))
        return [self._complete(next(first if turn.index == 0 else later)) for turn in turns]

    def _complete(self, score: Score) -> Score:
        components = {**dict.fromkeys(self.parts), **score.components}
        return structs.replace(score, components=components)
