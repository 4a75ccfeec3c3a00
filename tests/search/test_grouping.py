"""Wholes by their best part: the same vector scores the same wherever it stands."""

import numpy as np
import pytest

from picdesk.interfaces import Embeddings
from picdesk.search.grouping import best_part_run, distinct


@pytest.mark.parametrize("wholes", [5, 19, 37, 131])
def test_wholes_with_the_same_best_part_tie_and_stand_in_the_order_of_their_ids(wholes: int) -> None:
    rng = np.random.default_rng(wholes)

    def unit(rows: int) -> np.ndarray:
        matrix = rng.normal(size=(rows, 100)).astype(np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    queries = unit(7)
    same = unit(1)
    own = unit(wholes)
    own -= (own @ same.T) * same  # every whole has the same best part for the queries below, and a worse one of its own
    queries = queries * 0.1 + same
    matrix = np.concatenate([own, np.repeat(same, wholes, 0)]).astype(np.float32)
    owner = np.tile(np.arange(wholes), 2)
    names = tuple(f"w{i:03}" for i in rng.permutation(wholes))
    parts = Embeddings(tuple(f"p{i}" for i in range(len(owner))), unit_rows(matrix))
    found = best_part_run(Embeddings(tuple("abcdefg"), unit_rows(queries)), parts, owner, names, wholes)
    assert (found.scores == found.scores[:, :1]).all()
    for row in found.index:
        assert [names[i] for i in row] == sorted(names)


def unit_rows(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.float32)


def test_distinct_rows_in_the_order_of_their_first_appearance() -> None:
    matrix = np.array([[2, 1], [0, 1], [2, 1], [0, 0], [0, 1]], np.float32)
    rows, of_row = distinct(matrix)
    assert rows.tolist() == [[2, 1], [0, 1], [0, 0]]
    assert of_row.tolist() == [0, 1, 0, 2, 1]
