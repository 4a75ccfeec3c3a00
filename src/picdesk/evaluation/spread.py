"""How sure a mean over jobs is: over seeds and pictures, where the test part is fixed, or over draws of the split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from picdesk.evaluation.statistics import wilson

Doubles = NDArray[np.float64]
ROUNDING = 1e-9
"""An error of a share that is no larger is none but for rounding."""


@dataclass(frozen=True)
class Spread:
    """A mean over jobs with its interval, and the standard deviations between seeds and between draws of the split (None
    where there is one only)."""

    mean: float
    low: float
    high: float
    seeds: float | None = None
    draws: float | None = None


def _quantile(freedom: float, level: float) -> float:
    """Student's, how far to either side the middle `level` reaches."""
    from scipy.stats import t as student

    return float(student.ppf((1 + level) / 2, freedom))


def over_seeds_and_pictures(values: Doubles, pictures: NDArray[np.int64], level: float = 0.95) -> Spread:
    """The mean of `values` [seeds, queries] of jobs that were scored on the same queries; `pictures` [queries]: whose each is.

    Two errors add up: that of the seeds, the variance of their means / seeds, and that of the pictures, the cluster variance of
    the mean over seeds (its share of chance within a seed is counted in both, so the interval is a little long rather than
    short). The width is Student's, with the degrees of freedom of Welch and Satterthwaite. Where no seed and no picture tells
    another thing, or there is one picture only, it is Wilson's of so many pictures.
    """
    means, seeds = values.mean(axis=1), len(values)
    of_seeds = float(means.var(ddof=1)) / seeds if seeds > 1 else 0.0
    sizes = np.bincount(pictures).astype(np.float64)
    apart = np.bincount(pictures, weights=values.mean(axis=0)) - means.mean() * sizes
    count = len(sizes)
    of_pictures = float((apart**2).sum()) / sizes.sum() ** 2 * count / max(1, count - 1)
    error, mean = of_seeds + of_pictures, float(means.mean())
    deviation = float(means.std(ddof=1)) if math.sqrt(of_seeds) > ROUNDING else 0.0
    if count == 1 or math.sqrt(error) <= ROUNDING:  # what is not known is the share of pictures
        share = wilson(min(1.0, mean) * count, count, level)
        return Spread(mean, share.low, share.high, deviation if seeds > 1 else None)
    parts = of_seeds**2 / max(1, seeds - 1) + of_pictures**2 / (count - 1)
    reach = _quantile(max(1.0, error**2 / parts), level) * math.sqrt(error)
    return Spread(mean, mean - reach, mean + reach, deviation if seeds > 1 else None)


def over_draws(values: Doubles, lengths: Doubles, tested_per_learned: float, level: float = 0.95) -> Spread:
    """The mean of `values` [draws, seeds]: jobs on several draws of the split, with several seeds on each.

    `lengths` [draws, seeds] are those of the jobs' own intervals of this `level`, over their pictures. Each draw has other test
    pictures, so the variance between draws holds the error of the pictures too; but the draws share most of what is learned
    from, which a plain error would take for independent. Nadeau and Bengio ("Inference for the generalization error", 2003)
    correct for that: variance x (1 / draws + test / train), `tested_per_learned`. A few draws can lie closer together than their
    pictures allow, all at one value even, so the variance is at least that of one draw's pictures. The width is Student's, with
    draws - 1 degrees of freedom.
    """
    of_draws = values.mean(axis=1)
    draws = len(of_draws)
    of_pictures = float(((lengths.mean(axis=1) / (2 * NormalDist().inv_cdf((1 + level) / 2))) ** 2).mean())
    variance = max(float(of_draws.var(ddof=1)), of_pictures)
    error = math.sqrt(variance * (1 / draws + tested_per_learned))
    reach = _quantile(draws - 1, level) * error
    mean = float(of_draws.mean())
    seeds = math.sqrt(float(values.var(axis=1, ddof=1).mean())) if values.shape[1] > 1 else None
    return Spread(mean, mean - reach, mean + reach, seeds, float(of_draws.std(ddof=1)))


def round_spread(spread: Spread) -> dict[str, float | None]:
    """For a file: six digits."""
    return {key: None if value is None else round(value, 6) for key, value in vars(spread).items()}
