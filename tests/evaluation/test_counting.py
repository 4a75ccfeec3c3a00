"""Counting by bytes in words against counting by booleans, where lanes and bytes are filled to the brim."""

import numpy as np
import pytest

from picdesk.evaluation.counting import count_in_columns, count_in_rows, count_of_pairs


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (255, 8), (256, 2040), (300, 2041), (511, 4090), (3, 7)])
def test_counts_are_those_of_numpy(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    scores = rng.integers(0, 4, (rows, columns)).astype(np.float32)
    row_limit, column_limits = rng.integers(0, 5, rows), rng.integers(0, 5, (3, columns)).astype(np.float32)
    column_limits[1, ::2] = np.inf
    column_limits[2] = np.inf
    assert np.array_equal(
        count_in_rows(scores, row_limit.astype(np.float32)), (scores >= row_limit[:, None]).sum(axis=1)
    )
    assert np.array_equal(
        count_in_columns(scores, column_limits), [(scores >= limit).sum(axis=0) for limit in column_limits]
    )
    pairs = np.sort(rng.integers(0, rows, 40))
    limits = rng.integers(0, 5, 40).astype(np.float32)
    assert np.array_equal(count_of_pairs(scores, pairs, limits), (scores[pairs] >= limits[:, None]).sum(axis=1))


def test_everything_counts_where_the_limit_is_below_all() -> None:
    scores = np.ones((700, 5000), np.float32)
    assert (count_in_rows(scores, np.zeros(700, np.float32)) == 5000).all()
    assert (count_in_columns(scores, np.zeros((2, 5000), np.float32)) == 700).all()
