"""Two runs compared, dialogue by dialogue and by the paired statistics of `compare`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

from agent_gym_env.evaluation.compare import Comparison, compare
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.server.browse.index import PAGE_SIZE, Filters, Index, Key

ORDERS = {
    "worse": "difference IS NULL, difference, a.job, a.part",
    "better": "difference DESC, a.job, a.part",
    "apart": "abs(difference) DESC, a.job, a.part",
    "dialogue": "a.dialogue_id, a.seed",
}
"""SQL terms of the orders in which pairs are listed."""

_JOINED = (
    "episodes a JOIN other.episodes b "
    "ON a.dialogue_id = b.dialogue_id AND a.seed = b.seed AND a.split = b.split"
)
_AT_ONCE = threading.Lock()
"""Comparisons read whole journals: one at a time."""


class Pair(NamedTuple):
    """A dialogue that both runs have played with the same seed.

    Attributes:
        dialogue_id: id of the dialogue.
        seed: seed as text; ``""`` for none.
        first: key of the episode in the first run.
        second: key of the episode in the second run.
        rewards: rewards of both episodes; ``None`` for an unknown one.
        outcomes: outcomes of both episodes.
        difference: reward of the first minus that of the second; ``None`` if one is unknown.
    """

    dialogue_id: str
    seed: str
    first: Key
    second: Key
    rewards: tuple[float | None, float | None]
    outcomes: tuple[str, str]
    difference: float | None


def pairs(
    first: Index, second: Index, *, order: str = "worse", page: int = 1, apart: bool = False
) -> tuple[list[Pair], int]:
    """Return a page of the pairs of two runs, and the number of all pairs.

    Args:
        first: index of the first run.
        second: index of the second run.
        order: one of `ORDERS`; ``worse``: the pairs in which the first run is worst come first.
        page: number of the page, from 1 on.
        apart: whether pairs with equal reward and equal outcome are left out.
    """
    where = "difference IS NOT 0 OR a.outcome != b.outcome" if apart else "1"
    with first.database() as database:
        with second.database():
            pass  # it exists from here on
        database.execute("ATTACH DATABASE ? AS other", [str(second.path)])
        (count,) = database.execute(
            f"SELECT count(*) FROM (SELECT a.outcome, b.outcome, a.reward - b.reward AS difference "
            f"FROM {_JOINED} WHERE {where})"
        ).fetchone()
        found = database.execute(
            "SELECT a.dialogue_id, a.seed, a.job, a.part, b.job, b.part, a.reward, b.reward, "
            f"a.outcome, b.outcome, a.reward - b.reward AS difference FROM {_JOINED} "
            f"WHERE {where} ORDER BY {ORDERS[order]} LIMIT {PAGE_SIZE} OFFSET ?",
            [(page - 1) * PAGE_SIZE],
        ).fetchall()
    listed = [
        Pair(row[0], row[1], Key(*row[2:4]), Key(*row[4:6]), row[6:8], row[8:10], row[10])
        for row in found
    ]
    return listed, count


def compare_runs(first: Index, second: Index) -> Comparison:
    """Compare two runs, as ``agent-gym compare`` does. Lines that cannot be read are left out.

    Raises:
        ValueError: the runs cannot be compared, for example because their rewards differ.
        DataError: an episode can no longer be read.
    """
    with _AT_ONCE:
        return compare(_played(first), _played(second))


def _played(index: Index) -> Iterator[Episode]:
    return (episode for episode, _ in index.episodes(Filters(), failed=False))
