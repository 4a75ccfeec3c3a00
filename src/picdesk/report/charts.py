"""What a plot shows, as plain values: curves, rank histograms, heat maps, trade-offs; and their colours. Drawn by `plots.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from picdesk.errors import DataError

RANK_EDGES = (1, 2, 3, 6, 11, 21, 51, 101, 201, 501, 1001, 2001, 5001, 10001, 20001, 50001, 100001, 1000001)


@dataclass(frozen=True)
class Series:
    """One line of a curve: points (x, y), with intervals `low` to `high` where there are any."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    role: Literal["main", "other", "baseline"] = "other"

    def __post_init__(self) -> None:
        lengths = {len(self.x), len(self.y), len(self.low or self.y), len(self.high or self.y)}
        if len(lengths) != 1 or bool(self.low) != bool(self.high):
            raise DataError(f"report: curve {self.name!r}: x, y, low and high differ in length")


@dataclass(frozen=True)
class Curve:
    """Lines over one number: loss by epoch, a metric by fusion weight. `marked` is the x that was chosen.

    Intervals are drawn as a band, or, with `bars`, as an error bar at each point. Without `joined` no line leads from point to
    point: they differ in more than what the axis shows.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    marked: float | None = None
    mark_label: str = "chosen"
    log_x: bool = False
    bars: bool = False
    note: str = ""
    joined: bool = True


@dataclass(frozen=True)
class Histogram:
    """Counts in named bins, one set or several beside each other (name, counts)."""

    title: str
    x_label: str
    y_label: str
    bins: tuple[str, ...]
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    note: str = ""

    @classmethod
    def of_ranks(cls, title: str, ranks: Sequence[tuple[str, ArrayLike]], gallery_size: int) -> "Histogram":
        """Count ranks (from 1; of each query's first relevant item) in bins that widen: 1, 2, 3-5, 6-10, 11-20, ..."""
        edges = [edge for edge in RANK_EDGES if edge <= gallery_size] + [gallery_size + 1]
        bins = tuple(_bin_name(low, high - 1) for low, high in pairwise(edges))
        counts = []
        for name, values in ranks:
            array = np.asarray(values)
            if array.size and not (array.min() >= 1 and array.max() <= gallery_size):
                raise DataError(f"report: ranks of {name!r} lie outside 1 to {gallery_size}")
            counts.append((name, tuple(int(n) for n in np.histogram(array, bins=edges)[0])))
        return cls(title, "rank of the first relevant item", "queries", bins, tuple(counts))


@dataclass(frozen=True)
class HeatMap:
    """One number over two parameters: `values[row][column]`, None where no job ran; `best` is (row, column) of the best job."""

    title: str
    x_label: str
    y_label: str
    x_values: tuple[str, ...]
    y_values: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    note: str = ""
    best: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if [len(row) for row in self.values] != [len(self.x_values)] * len(self.y_values):
            raise DataError(
                f"report: heat map {self.title!r}: values are not {len(self.y_values)} x {len(self.x_values)}"
            )


@dataclass(frozen=True)
class Point:
    """One system of a trade-off: cost (lower is better), gain (higher is better), with the interval of the gain."""

    name: str
    cost: float
    gain: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Tradeoff:
    """Systems by cost and gain (milliseconds a query against hits@1); those no other beats on both are joined.

    Costs that are less than `noise` times a cheaper one's count as the same: a clock is no finer than that.
    """

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    log_x: bool = True
    note: str = ""
    noise: float = 1.0

    def front(self) -> tuple[Point, ...]:
        """Points that no other beats on both, cheapest first (the Pareto front)."""
        best: list[Point] = []
        for point in sorted(self.points, key=lambda p: (p.cost, -p.gain, p.name)):
            if best and point.gain <= best[-1].gain:
                continue
            while best and point.cost < self.noise * best[-1].cost:
                best.pop()
            best.append(point)
        return tuple(best)


Chart = Curve | Histogram | HeatMap | Tradeoff


def _bin_name(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


@dataclass(frozen=True)
class Palette:
    """Ink of letters, a softer one, hairlines, and the colours of systems: main, others in turn, baseline."""

    ink: str
    soft: str
    line: str
    main: str
    others: tuple[str, ...]
    baseline: str


PAPER = Palette("#16191d", "#59616b", "#d9dde2", "#1f57c3", ("#b4530a", "#0b7285", "#7a3fb0", "#8a6a00"), "#8b939c")
# Stand-ins, each a colour used nowhere else, that become the page's CSS variables: the page decides, in light and in dark.
PAGE = Palette("#010101", "#010102", "#010103", "#010104", ("#010105", "#010106", "#010107", "#010108"), "#010109")
VARIABLES = {
    PAGE.ink: "--ink",
    PAGE.soft: "--soft",
    PAGE.line: "--line",
    PAGE.main: "--main",
    PAGE.others[0]: "--other-1",
    PAGE.others[1]: "--other-2",
    PAGE.others[2]: "--other-3",
    PAGE.others[3]: "--other-4",
    PAGE.baseline: "--baseline",
}


def colors(series: tuple[Series, ...], palette: Palette) -> list[str]:
    """Colour of each line: main and baseline have their own, others take theirs in turn."""
    others = iter(palette.others * (len(series) // len(palette.others) + 1))
    named = {"main": palette.main, "baseline": palette.baseline}
    return [named.get(line.role) or next(others) for line in series]


def bar_colors(chart: Histogram, palette: Palette) -> list[str]:
    """Colour of each set of bars: the first is the main one, the second the baseline."""
    turn = (palette.main, palette.baseline, *palette.others)
    return [turn[i % len(turn)] for i in range(len(chart.counts))]
