"""Choosing one of many settings by a metric that has an error of its own.

The best of many is best by luck too, so the simplest setting within reach of the best is taken: within one standard error of
it (Breiman, Friedman, Olshen and Stone 1984, section 3.4.3), queries of one picture counted together.
"""

from collections.abc import Sequence

import numpy as np

from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import Doubles
from picdesk.evaluation.ranks import Longs
from picdesk.evaluation.statistics import cluster_sums

RULES = ("one_se", "paired", "best")


def standard_error(cluster: Longs, values: Doubles) -> float:
    """Of the mean of `values` [queries], whose `cluster` numbers say which belong together.

    Where all clusters agree it is Wilson's bound at one standard error, 1 / (clusters + 1), and not 0: an error that is not
    seen in so many pictures.
    """
    sizes = np.bincount(cluster).astype(np.float64)
    apart = cluster_sums(cluster, values) - values.mean() * sizes
    seen = float(np.sqrt((apart**2).sum()) / sizes.sum())
    return seen if seen > 1e-12 else 1 / (len(sizes) + 1)


def choose(values: Sequence[Doubles], cluster: Longs, cost: Sequence[float], rule: str = "one_se") -> tuple[int, int]:
    """Positions of the setting to take and of the best one; `values` are per query, higher is better, `cost` says what is simple.

    `one_se`: the cheapest whose mean is within one standard error of the best's mean. `paired`: the cheapest that the best beats
    by no more than one standard error of their difference. `best`: the best. Of equals the cheaper, then the first.
    Raises `ConfigError` for another rule.
    """
    if rule not in RULES:
        raise ConfigError(f"tune_weights.rule={rule}: choose one of {', '.join(RULES)}")
    means = np.array([value.mean() for value in values])
    costs = np.asarray(cost, np.float64)
    best = int(np.lexsort((costs, -means))[0])
    if rule == "best":
        return best, best
    if rule == "one_se":
        reach = np.full(len(means), standard_error(cluster, values[best]))
    else:
        reach = np.array([standard_error(cluster, values[best] - value) for value in values])
    within = np.flatnonzero(means[best] - means <= reach + 1e-12)
    taken = within[np.lexsort((-means[within], costs[within]))[0]]
    return int(taken), best
