"""A measured number with its interval, and the columns in which such numbers stand."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from picdesk.errors import DataError
from picdesk.measures.listing import JOINTS, KS, LISTED, MEASURES, NAMES


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


BOUNDS = {"mrr_at_least": "MRR, at least", "mrr_at_most": "MRR, at most"}
"""What stands in the place of an MRR that is not known."""


def column_of(key: str) -> Column:
    """How the metric of this key is shown."""
    name = key if key in {*MEASURES, *LISTED, *JOINTS} else key.rpartition("@")[0]
    if name in JOINTS:
        joint = JOINTS[name]
        return Column(key, joint.label_of(key), joint.digits, bar=joint.most == 1.0)
    if name in LISTED:
        return Column(key, LISTED[name].label, LISTED[name].digits, "low", LISTED[name].bar)
    if key in BOUNDS:
        return Column(key, BOUNDS[key])
    measure = MEASURES[name]
    better: Literal["high", "low"] = "low" if measure.is_rank else "high"
    return Column(key, measure.label_of(key), measure.digits, better, not measure.is_rank)


def columns_of(keys: Iterable[str]) -> tuple[Column, ...]:
    """A column for each key that is a metric's, in the order of the list of metrics, cut-offs rising."""
    names = [*MEASURES, *LISTED, *JOINTS]
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        head, _, k = key.rpartition("@")
        if key in names:
            places[key] = (names.index(key), 0)
        elif key in BOUNDS:
            places[key] = (names.index("mrr"), 1 + list(BOUNDS).index(key))
        elif head in names and k.isdecimal():
            places[key] = (names.index(head), int(k))
    return tuple(column_of(key) for key in sorted(places, key=places.__getitem__))


METRICS: tuple[Column, ...] = columns_of([*(key for name in NAMES for key in MEASURES[name].keys(KS)), *BOUNDS])
"""The columns of what is reported unless the config names others."""
