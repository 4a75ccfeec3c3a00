"""Do similarities go with what people say? Kendall's rank correlation with ratings, and the share of choices that are met.

tau-b for ratings of many values, tau-c (Stuart) for few; papers on captions report both (Hodosh et al. 2013; Hessel et al.,
"CLIPScore", EMNLP 2021). Ratings of one picture are not independent, so pictures are drawn, with all their ratings.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError
from picdesk.evaluation.metrics import Doubles
from picdesk.evaluation.ranks import Longs
from picdesk.evaluation.statistics import Interval, percentiles

MOST = 1000
"""Draws of the bootstrap: each is a whole rank correlation."""


def kendall(
    scores: Doubles,
    ratings: Doubles,
    picture: Longs,
    variant: Literal["b", "c"] = "b",
    resamples: int = MOST,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """tau of `scores` and `ratings` [pairs] with its interval; `picture` numbers say which pairs are about one picture.

    Raises `DataError` where one of the two is the same for all pairs.
    """
    from scipy.stats import kendalltau

    for name, values in (("similarities", scores), ("ratings", ratings)):
        if len(np.unique(values)) < 2:
            raise DataError(f"agreement: all {len(values)} {name} are the same, so there is no order to compare")

    def tau(rows: Longs) -> float:
        return float(kendalltau(scores[rows], ratings[rows], variant=variant).statistic)

    return _bootstrap(tau, picture, resamples, seed, level, (-1.0, 1.0))


def choices_met(
    first: Doubles,
    second: Doubles,
    chosen: NDArray[np.bool_],
    picture: Longs,
    resamples: int = MOST,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The share of choices "the first fits better" (`chosen` [choices]) that the similarities make too; equal ones count half."""
    met = np.where(first == second, 0.5, ((first > second) == chosen).astype(np.float64))
    return _bootstrap(lambda rows: float(met[rows].mean()), picture, resamples, seed, level, (0.0, 1.0))


def _bootstrap(
    statistic: Callable[[Longs], float],
    picture: Longs,
    resamples: int,
    seed: int,
    level: float,
    ends: tuple[float, float],
) -> Interval:
    """The statistic of all rows, with the percentiles of it over draws of whole pictures."""
    order = np.argsort(picture, kind="stable")
    _, starts = np.unique(picture[order], return_index=True)
    rows = np.split(order, starts[1:])
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(min(resamples, MOST)):
        some = generator.integers(0, len(rows), len(rows))
        value = statistic(np.concatenate([rows[i] for i in some]))
        if np.isfinite(value):
            drawn.append(value)
    value = statistic(np.arange(len(picture)))
    return percentiles(value, np.array(drawn or [value]), level, len(rows), ends)
