"""The best one-to-one matching of the calls that are due with the calls that were made."""

from __future__ import annotations

from collections.abc import Sequence

_FAR = float("inf")


def best_matching(scores: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Match rows with columns, so that the sum of their scores is largest.

    The Hungarian method with potentials, in O(rows² · columns).

    Args:
        scores: score of each row with each column; rows of one length, no more rows than columns.

    Returns:
        Pairs of a row and its column, one for each row, in the order of the rows.

    Raises:
        ValueError: there are more rows than columns.
    """
    rows, columns = len(scores), len(scores[0]) if scores else 0
    if rows > columns:
        raise ValueError(f"{rows} rows cannot be matched with {columns} columns")
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of = [0] * (columns + 1)  # 1-based; 0 is none, and column 0 holds the row to be placed
    for row in range(1, rows + 1):
        row_of[0] = row
        before = _place(scores, row_of, row_potential, column_potential)
        column = before[0]
        while column:
            row_of[column], column = row_of[before[column]], before[column]
    return sorted((row - 1, column - 1) for column, row in enumerate(row_of) if row and column)


def _place(
    scores: Sequence[Sequence[float]],
    row_of: Sequence[int],
    row_potential: list[float],
    column_potential: list[float],
) -> list[int]:
    """Find the shortest path from the row in column 0 to a free column.

    Returns:
        For each column of the path, the one before it. Place 0 has the free column.
    """
    columns = len(column_potential)
    before, nearest = [0] * columns, [_FAR] * columns
    used = [False] * columns
    column = 0
    while row_of[column]:
        used[column] = True
        row, step, following = row_of[column], _FAR, 0
        for other in range(1, columns):
            if used[other]:
                continue
            cost = -scores[row - 1][other - 1] - row_potential[row] - column_potential[other]
            if cost < nearest[other]:
                nearest[other], before[other] = cost, column
            if nearest[other] < step:
                step, following = nearest[other], other
        for other in range(columns):
            if used[other]:
                row_potential[row_of[other]] += step
                column_potential[other] -= step
            else:
                nearest[other] -= step
        column = following
    before[0] = column
    return before
