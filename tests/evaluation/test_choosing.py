"""The one-standard-error rule, on values that a pencil can check."""

import numpy as np
import pytest

from picdesk.errors import ConfigError
from picdesk.evaluation.choosing import choose, standard_error

ALONE = np.arange(100)


def hits(right: int) -> np.ndarray:
    return (np.arange(100) < right).astype(float)


def test_the_standard_error_of_a_share() -> None:
    assert standard_error(ALONE, hits(20)) == pytest.approx((0.2 * 0.8 / 100) ** 0.5)
    pairs = np.repeat(np.arange(50), 2)
    assert standard_error(pairs, np.repeat(hits(20)[:50], 2)) == pytest.approx((0.4 * 0.6 / 50) ** 0.5), (
        "queries of one picture count once"
    )
    assert standard_error(pairs, np.ones(100)) == 1 / 51, "all agree"


def test_the_simplest_within_one_standard_error_of_the_best() -> None:
    values = [hits(40), hits(47), np.roll(hits(50), 2), hits(51), hits(30)]  # the error of 0.51 is 0.05
    cost = [0.0, 0.1, 0.2, 0.3, 0.4]
    assert choose(values, ALONE, cost, "one_se") == (1, 3)
    assert choose(values, ALONE, cost, "best") == (3, 3)
    assert choose(values, ALONE, cost, "paired") == (2, 3), "two won and one lost: 0.01 with an error of 0.017"


def test_no_gain_means_no_reranking() -> None:
    assert choose([hits(40), hits(41), hits(39)], ALONE, [0.0, 0.5, 1.0]) == (0, 1)
    assert choose([hits(40), hits(40)], ALONE, [0.0, 0.5], "best") == (0, 0), "of equals the cheaper"


def test_of_equal_cost_the_better() -> None:
    assert choose([hits(10), hits(48), hits(50)], ALONE, [0.0, 0.2, 0.2]) == (2, 2)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tune_weights\.rule=lucky"):
        choose([hits(1)], ALONE, [0.0], "lucky")
