"""A measured number with its interval, and the columns in which such numbers stand."""

import math
from dataclasses import dataclass
from typing import Literal

from picdesk.errors import DataError


@dataclass(frozen=True)
class Value:
    """A measured number and its 95% interval, where there is one. Raises `DataError` unless finite and low <= high."""

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise DataError(f"report: an interval with one end: {self}")
        if not all(math.isfinite(x) for x in (self.value, self.low or 0.0, self.high or 0.0)):
            raise DataError(f"report: a number that is not finite: {self}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise DataError(f"report: an interval that ends before it begins: {self}")


@dataclass(frozen=True)
class Column:
    """A column of numbers: its key, heading, decimals, which way is better, and whether a bar from 0 to 1 makes sense."""

    key: str
    label: str
    digits: int = 3
    better: Literal["high", "low", ""] = "high"
    bar: bool = True


METRICS: tuple[Column, ...] = (
    Column("hits@1", "hits@1"),
    Column("hits@5", "hits@5"),
    Column("hits@10", "hits@10"),
    Column("recall@1", "recall@1"),
    Column("recall@5", "recall@5"),
    Column("recall@10", "recall@10"),
    Column("mrr", "MRR"),
    Column("mrr_at_least", "MRR, at least"),
    Column("mrr_at_most", "MRR, at most"),
    Column("median_rank", "median rank", 1, "low", False),
    Column("mean_rank", "mean rank", 1, "low", False),
)
