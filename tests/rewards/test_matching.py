import itertools
import random

import pytest

from agent_gym_env.rewards.matching import best_matching


@pytest.mark.parametrize("seed", range(200))
def test_no_other_matching_scores_more(seed: int) -> None:
    draw = random.Random(seed)
    rows = draw.randint(0, 5)
    columns = draw.randint(rows, 6)
    scores = [
        [draw.choice((0.0, 0.0, 0.5, 1.0, draw.random())) for _ in range(columns)]
        for _ in range(rows)
    ]
    matched = best_matching(scores)
    assert [row for row, _ in matched] == list(range(rows))
    assert len({column for _, column in matched}) == rows
    orders = itertools.permutations(range(columns), rows)
    best = max(sum(scores[row][order[row]] for row in range(rows)) for order in orders)
    assert sum(scores[row][column] for row, column in matched) == pytest.approx(best)


def test_more_rows_than_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows cannot be matched with 1 columns"):
        best_matching([[1.0], [1.0]])
