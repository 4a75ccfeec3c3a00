"""The one list of metrics: name, value of each query, what chance scores, how it is shown. Everything else derives from it.

A key is a name (`mrr`) or, of a measure that is cut, name and cut-off (`hits@5`). Tables, pages, the leaderboard, tuning,
comparisons, verdicts and loggers ask this list; what the measures mean, and why, stands in `docs/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.measures import values
from picdesk.measures.values import Doubles, Placed, RandomOrder
from picdesk.text.given import list_from

OfQueries = Callable[[Placed, int], Doubles | None]
KS = (1, 5, 10)
NAMES = ("hits", "recall", "mrr", "median_rank", "mean_rank")
"""What is reported unless the config names others."""
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Named:
    """A name, what a reader sees of it, and whether there is one for each cut-off k (`cut`)."""

    name: str
    label: str
    cut: bool = False

    def keys(self, ks: Sequence[int]) -> list[str]:
        """`hits@1`, `hits@5`, ... or the name alone."""
        return [f"{self.name}@{k}" for k in ks] if self.cut else [self.name]

    def label_of(self, key: str) -> str:
        """What a reader sees: the cut-off behind the label."""
        return f"{self.label}@{key.rpartition('@')[2]}" if self.cut else self.label


@dataclass(frozen=True, kw_only=True)
class Measure(Named):
    """One metric of one direction.

    `of_queries(ranks, k)` gives the value of each query [queries], or None where a list that was cut does not tell it; it is
    None itself for what is no mean over queries. `by_chance(draw, k)` is what a random order scores on average. `cut`: there is
    one for each cut-off k. `is_rank`: a rank, from 1 to the gallery's size, of which less is better; otherwise a share from 0
    to 1. `on_board`: a column of the leaderboard.
    """

    of_queries: Callable[[Placed, int], Doubles | None] | None
    by_chance: Callable[[RandomOrder, int], float]
    is_rank: bool = False
    on_board: bool = True

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return 1 if self.is_rank else 3


@dataclass(frozen=True, kw_only=True)
class Joint(Named):
    """One metric over both directions: a weighted sum of means over queries, `terms(k, directions)` by key, in each direction."""

    terms: Callable[[int, int], Mapping[str, float]]
    digits: int = 3
    needs: int = 1
    """How many directions there must be."""
    most: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Listed(Named):
    """What the first ten places of all lists together say of the gallery: `of_lists(index, gallery)`, and of a random order."""

    of_lists: Callable[[NDArray[np.int32], int], float]
    by_chance: Callable[[int, int], float]
    digits: int = 3
    bar: bool = True


def _measure(
    name: str,
    label: str,
    of_queries: Callable[[Placed, int], Doubles | None] | None,
    by_chance: Callable[[RandomOrder, int], float],
    *,
    cut: bool = False,
    is_rank: bool = False,
    on_board: bool = True,
) -> tuple[str, Measure]:
    made = Measure(
        name=name, label=label, of_queries=of_queries, by_chance=by_chance, cut=cut, is_rank=is_rank, on_board=on_board
    )
    return name, made


MEASURES: dict[str, Measure] = dict(
    (
        _measure("hits", "hits", values.hits, values.chance_of_hits, cut=True),
        _measure("recall", "recall", values.recall, values.chance_of_recall, cut=True, on_board=False),
        _measure("ndcg", "nDCG", values.ndcg, values.chance_of_ndcg, cut=True),
        _measure("map@r", "mAP@R", values.average_precision_at_r, values.chance_of_map),
        _measure("r_precision", "R-Precision", values.precision_at_r, values.chance_of_precision),
        _measure("mrr", "MRR", values.reciprocal, values.chance_of_mrr),
        _measure("median_rank", "median rank", None, values.chance_of_median, is_rank=True),
        _measure("mean_rank", "mean rank", values.first_rank, values.chance_of_mean, is_rank=True, on_board=False),
    )
)
"""Every metric of one direction, in the order in which they are shown. A new one is one line here, with its function."""
LISTED: dict[str, Listed] = {
    "n10_skewness": Listed(
        name="n10_skewness",
        label="N10 skewness",
        of_lists=values.skewness,
        by_chance=values.chance_of_skewness,
        digits=2,
        bar=False,
    ),
    "never_found": Listed(
        name="never_found", label="never found", of_lists=values.never_listed, by_chance=values.chance_of_never
    ),
}
"""What is told of a run's lists as a whole: hubness. It stands on every page, and in metrics.json where it is chosen; but for
lists of fewer than ten (`values.lists_tell`), which do not tell it."""
JOINTS: dict[str, Joint] = {
    "rsum": Joint(
        name="rsum",
        label="RSUM",
        terms=lambda _, directions: {f"hits@{k}": 100.0 for k in KS},
        digits=1,
        needs=2,
        most=600.0,
    ),
    "mean_recall": Joint(
        name="mean_recall", label="mean recall", terms=lambda k, directions: {f"recall@{k}": 1 / directions}, cut=True
    ),
}
"""Every metric over both directions."""


def metric(
    name: str,
    *,
    by_chance: Callable[[RandomOrder, int], float],
    label: str = "",
    cut: bool = False,
    is_rank: bool = False,
) -> Callable[[OfQueries], OfQueries]:
    """Put a metric of one direction onto the list: the function below gives the value of each query. For packages of users.

    The arguments are those of `Measure`. Raises `ConfigError` for a name that another metric has.
    """

    def add(of_queries: OfQueries) -> OfQueries:
        before = MEASURES[name].of_queries if name in MEASURES else None
        same = before is not None and before.__module__ == of_queries.__module__
        if (name in (*MEASURES, *LISTED, *JOINTS, ALL) and not same) or "@" in name or "/" in name:
            raise ConfigError(f"metric {name}: taken, or no name; give another, without @ and /")
        MEASURES[name] = _measure(name, label or name, of_queries, by_chance, cut=cut, is_rank=is_rank)[1]
        return of_queries

    return add


def check_metrics(
    names: Iterable[object], ks: Iterable[object], key: str = "metrics"
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and cut-offs of a config, each once. hits@1 is always among them: jobs are ordered by it.

    Raises `ConfigError` for an unknown name, or for a cut-off that is no whole number of 1 or more.
    """
    given = [names] if isinstance(names, str) else [str(name) for name in list_from(f"{key}.names", names, "names")]
    known = [*MEASURES, *LISTED, *JOINTS]
    odd = [name for name in given if name not in (*known, ALL)]
    if odd or not given:
        raise ConfigError(f"{key}.names={','.join(odd) or '[]'}: choose of {', '.join(known)}, or {ALL}")
    cuts = list_from(f"{key}.ks", ks, "whole numbers, such as [1,5,10],")
    wrong = [k for k in cuts if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1]
    if wrong or not cuts:
        raise ConfigError(f"{key}.ks={cuts}: whole numbers of 1 or more are needed, such as [1,5,10]")
    chosen = known if ALL in given else ["hits", *given]
    ordered = tuple(name for name in known if name in chosen)
    return ordered, tuple(sorted({1, *(int(k) for k in cuts if isinstance(k, int | np.integer))}))


def measure_of(key: str) -> tuple[Measure, int]:
    """The measure of a key, with its cut-off (0 where it has none). Raises `ConfigError` for what is no key."""
    if key in MEASURES and not MEASURES[key].cut:
        return MEASURES[key], 0
    name, _, k = key.rpartition("@")
    if name in MEASURES and MEASURES[name].cut and k.isdecimal() and int(k) > 0:
        return MEASURES[name], int(k)
    raise ConfigError(f"metric={key}: choose one of {', '.join(example_keys())}")


def example_keys() -> list[str]:
    """Every key of the usual cut-offs."""
    return [key for measure in MEASURES.values() for key in measure.keys(KS)]


def higher_is_better() -> list[str]:
    """Keys that settings may be chosen by: means over queries of which more is better."""
    return [key for m in MEASURES.values() for key in m.keys(KS) if may_choose(key)]


def may_choose(key: str) -> bool:
    """Whether settings may be chosen by a metric: a mean over queries of which more is better."""
    try:
        measure = measure_of(key)[0]
    except ConfigError:
        return False
    return measure.of_queries is not None and not measure.is_rank


def is_rank(key: str) -> bool:
    """Whether a key is that of a rank, of which less is better."""
    return key in MEASURES and MEASURES[key].is_rank
