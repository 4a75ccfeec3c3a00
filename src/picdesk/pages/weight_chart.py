"""The curve of a metric over the weights of the rerankers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from picdesk.report.charts import Chart, Curve, HeatMap, Series

Doubles = NDArray[np.float64]


def weight_charts(
    names: Sequence[str],
    points: Sequence[tuple[float, ...]],
    values: Doubles,
    errors: Doubles,
    chosen: int,
    metric: str,
) -> tuple[Chart, ...]:
    """One curve for each reranker, the others held at what was chosen; of two also the whole plane."""
    charts: list[Chart] = []
    for part, name in enumerate(names):
        rest = [i for i in range(len(names)) if i != part]
        along = [i for i, point in enumerate(points) if all(abs(point[j] - points[chosen][j]) < 1e-9 for j in rest)]
        x, y = tuple(points[i][part] for i in along), tuple(float(values[i]) for i in along)
        low = tuple(float(values[i] - errors[i]) for i in along)
        high = tuple(float(values[i] + errors[i]) for i in along)
        held = ", ".join(f"{names[j]} at {points[chosen][j]:g}" for j in rest)
        note = "The band is one standard error; 0 is the search alone, 1 the reranker alone."
        series = (Series(metric, x, y, low, high, "main"),)
        title = f"Weight of {name}" + (f" ({held})" if held else "")
        charts.append(Curve(title, "weight", metric, series, points[chosen][part], "chosen", note=note))
    if len(names) == 2:
        ticks = sorted({point[0] for point in points})
        at = {point: float(value) for point, value in zip(points, values, strict=True)}
        rows = tuple(tuple(at.get((x, y)) for x in ticks) for y in ticks)
        labels = tuple(f"{tick:g}" for tick in ticks)
        charts.append(HeatMap(f"{metric} by both weights", names[0], names[1], labels, labels, rows))
    return tuple(charts)
