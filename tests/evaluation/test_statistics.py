"""Intervals: how they are shown, repeated, and where they stand."""

import numpy as np
import pytest
from tests.evaluation.ranking_cases import random_case

from picdesk.evaluation.metrics import metrics_of, ranks_of_run
from picdesk.evaluation.statistics import Interval, intervals, wilson


def test_shown_with_its_ends() -> None:
    assert str(Interval(0.412, 0.3912, 0.43449)) == "0.412 [0.391, 0.434]"
    assert str(Interval(12.0, 9.5, 14.25)) == "12.0 [9.5, 14.2]"


def test_wilson_at_the_ends_and_in_the_middle() -> None:
    none = wilson(0, 10)
    assert (none.low, none.high) == (0.0, pytest.approx(0.2775, abs=1e-4))
    half = wilson(5, 10)
    assert (half.low, half.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_every_metric_has_an_interval_around_it(direction: str) -> None:
    case = random_case(np.random.default_rng(0), pictures=120)
    ranks = ranks_of_run(case.run(direction), case.qrels(direction), direction)
    values = metrics_of(ranks)
    found = intervals(ranks, resamples=2000)
    assert set(found) == set(values) - {"queries", "gallery"}
    for name, interval in found.items():
        assert interval.value == pytest.approx(values[name])
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high or name == "median_rank"
    assert found == intervals(ranks, resamples=2000)
    assert found != intervals(ranks, resamples=2000, seed=1)
