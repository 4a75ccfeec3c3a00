"""Charts and bars as the templates show them: SVG, legend and the same numbers as a table."""

from dataclasses import dataclass

from markupsafe import Markup

from picdesk.report import bars, formats
from picdesk.report.charts import PAGE, VARIABLES, Chart, Curve, HeatMap, Histogram, Tradeoff, bar_colors, colors
from picdesk.report.measured_values import Value

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A chart ready for the page: SVG, its legend (name, CSS variable), and header and rows of its numbers."""

    chart: Chart
    svg: Markup
    legend: tuple[tuple[str, str], ...]
    header: tuple[str, ...]
    rows: Rows


class Plots:
    """Draws the charts of one page, each with ids of its own."""

    def __init__(self) -> None:
        self._drawn = 0

    def of(self, chart: Chart) -> Figure:
        """The chart as a figure."""
        self._drawn += 1
        svg = bars.histogram(chart) if isinstance(chart, Histogram) else svg_of(chart, f"f{self._drawn}")
        return Figure(chart, Markup(svg), legend(chart), *numbers(chart))


def svg_of(chart: Chart, name: str) -> str:
    """The chart by matplotlib, which is loaded for the first page that needs it."""
    from picdesk.report import plots

    return plots.svg(chart, name)


def legend(chart: Chart) -> tuple[tuple[str, str], ...]:
    """Name and CSS variable of each line or set of bars; empty where there is only one."""
    if isinstance(chart, Curve):
        own = colors(chart.series, PAGE)
        named = tuple((line.name, VARIABLES[color]) for line, color in zip(chart.series, own, strict=True))
    elif isinstance(chart, Histogram):
        own = bar_colors(chart, PAGE)
        named = tuple((name, VARIABLES[color]) for (name, _), color in zip(chart.counts, own, strict=True))
    else:
        return ()
    return named if len(named) > 1 else ()


def numbers(chart: Chart) -> tuple[tuple[str, ...], Rows]:
    """Header and rows of a chart's numbers, for those who cannot see it or want to copy them."""
    match chart:
        case Curve():
            xs = sorted({x for line in chart.series for x in line.x})
            columns = [dict(zip(line.x, line.y, strict=True)) for line in chart.series]
            rows = tuple((f"{x:g}", *(formats.number(column.get(x), 4) for column in columns)) for x in xs)
            return (chart.x_label, *(line.name for line in chart.series)), rows
        case Histogram():
            counts = [values for _, values in chart.counts]
            rows = tuple((name, *(f"{values[i]:,}" for values in counts)) for i, name in enumerate(chart.bins))
            return (chart.x_label, *(name or chart.y_label for name, _ in chart.counts)), rows
        case HeatMap():
            lines = zip(chart.y_values, chart.values, strict=True)
            rows = tuple((y, *(formats.number(value, 4) for value in line)) for y, line in lines)
            return (f"{chart.y_label} \\ {chart.x_label}", *chart.x_values), rows
        case Tradeoff():
            rows = tuple((p.name, formats.number(p.cost, 3), formats.number(p.gain, 4)) for p in chart.points)
            return ("", chart.x_label, chart.y_label), rows


def bar(value: Value, role: str = "main", beside: float | None = None) -> Markup:
    """A bar from 0 to 1 with the interval drawn over it, and a line at the value it is to be held `beside`."""
    return _svg(
        f"bar {role}",
        _rect("track", 0, 1, 0, 6),
        _rect("value", 0, value.value, 0, 6),
        _rect("interval", value.low, value.high, 2, 2),
        "" if beside is None else _rect("beside", beside - 0.002, beside + 0.002, -3, 12),
    )


def whisker(value: Value, among: list[Value]) -> Markup:
    """A dot with its interval, on a scale that holds all of the column's, so that rows compare at a glance."""
    lows = [v.value if v.low is None else v.low for v in among]
    highs = [v.value if v.high is None else v.high for v in among]
    low, span = min(lows), max(max(highs) - min(lows), 1e-12)

    def place(x: float | None) -> float | None:
        return None if x is None else 0.02 + 0.96 * (x - low) / span

    middle = place(value.value) or 0.0
    return _svg(
        "whisker",
        _rect("track", 0, 1, 2.5, 1),
        _rect("interval", place(value.low), place(value.high), 2, 2),
        _rect("value", middle - 0.014, middle + 0.014, 0, 6),
    )


def _rect(name: str, low: float | None, high: float | None, top: float, height: float) -> str:
    if low is None or high is None:
        return ""
    low, high = max(0.0, min(low, 1.0)), max(0.0, min(high, 1.0))
    width = max(100 * (high - low), 0.6)
    return f'<rect class="{name}" x="{100 * low:.2f}" y="{top:g}" width="{width:.2f}" height="{height:g}"/>'


def _svg(name: str, *parts: str) -> Markup:
    start = f'<svg class="{name}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(start + "".join(parts) + "</svg>")
