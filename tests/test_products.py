"""The quick product says nothing of what is no part of it."""

import numpy as np
import pytest

from picdesk.products import quick_product


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_happens_in_a_register_beside_the_result_is_not_told(kind: type) -> None:
    """An infinity times nothing stands in for what lies in the unused part of a register."""
    left, right = np.array([[1, 2], [np.inf, 0]], kind), np.array([[3, 4], [0, 1]], kind)
    with np.errstate(invalid="raise"):
        with pytest.raises(FloatingPointError):
            left @ right.T
        found = quick_product(left, right)
    assert found.dtype == kind
    assert found[0].tolist() == [11, 2]


def test_it_is_the_product_of_rows_and_goes_where_it_is_told() -> None:
    rng = np.random.default_rng(3)
    left, right = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=(4, 7)).astype(np.float32)
    out = np.empty((5, 4), np.float32)
    assert quick_product(left, right, out=out) is out
    assert np.array_equal(out, left @ right.T)
    assert np.array_equal(quick_product(left, right[0]), left @ right[0])
