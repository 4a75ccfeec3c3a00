"""Counting by bytes in words against counting by booleans, where lanes and bytes are filled to the brim."""

import numpy as np
import pytest

from picdesk.evaluation.counting import count_and_doubt, count_and_doubt_pairs


def pairs(found: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int]]:
    return sorted(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (255, 8), (256, 2040), (300, 2041), (511, 4090), (3, 7)])
def test_counts_and_doubts_are_those_of_numpy(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    scores = rng.integers(0, 4, (rows, columns)).astype(np.float32)
    low = rng.integers(0, 5, columns).astype(np.float32)
    low[::3] = np.inf
    high = low + 1
    count, *doubt = count_and_doubt(scores, low, high)
    assert np.array_equal(count, (scores >= high).sum(axis=0))
    assert pairs(tuple(doubt)) == pairs(np.nonzero((scores >= low) & (scores < high)))
    row = np.sort(rng.integers(0, rows, 40))
    low = rng.integers(0, 5, 40).astype(np.float32)
    count, *doubt = count_and_doubt_pairs(scores, row, low, low + 1)
    assert np.array_equal(count, (scores[row] >= low[:, None] + 1).sum(axis=1))
    assert pairs(tuple(doubt)) == pairs(np.nonzero(scores[row] == low[:, None]))


def test_everything_counts_where_the_limit_is_below_all() -> None:
    scores, nothing = np.ones((700, 5000), np.float32), np.zeros(5000, np.float32)
    assert (count_and_doubt(scores, nothing, nothing)[0] == 700).all()
    assert (count_and_doubt_pairs(scores, np.arange(700), nothing[:700], nothing[:700])[0] == 5000).all()
