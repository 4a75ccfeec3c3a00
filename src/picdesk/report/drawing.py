"""How each kind of chart is drawn on matplotlib axes, in the colours of a palette."""

from typing import Any

from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from picdesk.report.charts import Chart, Curve, HeatMap, Histogram, Palette, Point, Tradeoff, bar_colors, colors

MOST_LETTERS = 44  # beside each other below a plot
Axes = Any  # matplotlib.axes.Axes; its stubs are not strict enough to be of use


def draw(chart: Chart, axes: Axes, palette: Palette) -> None:
    """Draw a chart, its axes labelled; the title stands in the page."""
    axes.tick_params(colors=palette.soft, length=0, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(palette.line)
    axes.set_xlabel(escape_tex(chart.x_label), color=palette.soft, fontsize=8)
    axes.set_ylabel(escape_tex(chart.y_label), color=palette.soft, fontsize=8)
    axes.set_axisbelow(True)
    match chart:
        case Curve():
            _curve(chart, axes, palette)
        case Histogram():
            _histogram(chart, axes, palette)
        case HeatMap():
            _heat_map(chart, axes, palette)
        case Tradeoff():
            _tradeoff(chart, axes, palette)


def _curve(chart: Curve, axes: Axes, palette: Palette) -> None:
    axes.grid(axis="y", color=palette.line, linewidth=0.6)
    _scale(axes, [x for series in chart.series for x in series.x], chart.log_x)
    for series, color in zip(chart.series, colors(chart.series, palette), strict=True):
        few = len(series.x) <= 25 and series.role != "baseline"
        dashes = (0, (4, 3)) if series.role == "baseline" else "solid"
        line = {
            "color": color,
            "linewidth": 1.5,
            "linestyle": dashes if chart.joined else "",
            "marker": "o" if few or not chart.joined else "",
            "markersize": 3,
        }
        axes.plot(series.x, series.y, label=escape_tex(series.name), **line)
        if series.low and chart.bars:
            axes.vlines(series.x, series.low, series.high, color=color, linewidth=1)
        elif series.low:
            axes.fill_between(series.x, series.low, series.high, color=color, alpha=0.16, linewidth=0)
    if chart.marked is not None:
        axes.margins(y=0.14)  # room above the curve for the words
        axes.axvline(chart.marked, color=palette.soft, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        axes.annotate(
            escape_tex(chart.mark_label),
            (chart.marked, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            color=palette.soft,
            fontsize=7,
            va="top",
        )


def _histogram(chart: Histogram, axes: Axes, palette: Palette) -> None:
    axes.grid(axis="y", color=palette.line, linewidth=0.6)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    width = 0.8 / max(len(chart.counts), 1)
    for i, ((name, counts), color) in enumerate(zip(chart.counts, bar_colors(chart, palette), strict=True)):
        places = [x + (i - (len(chart.counts) - 1) / 2) * width for x in range(len(chart.bins))]
        axes.bar(places, counts, width=width * 0.94, color=color, label=escape_tex(name))
    axes.set_xticks(
        range(len(chart.bins)), [escape_tex(each) for each in chart.bins], rotation=35, ha="right", fontsize=7
    )
    axes.spines["left"].set_visible(False)


def _heat_map(chart: HeatMap, axes: Axes, palette: Palette) -> None:
    values = [value for row in chart.values for value in row if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    for y, row in enumerate(chart.values):
        for x, value in enumerate(row):
            if value is None:
                continue
            share = (value - low) / (high - low) if high > low else 1.0
            axes.add_patch(_rectangle(x, y, palette.main, 0.06 + 0.5 * share))
            is_best = (y, x) == chart.best if chart.best is not None else value == high
            weight = "bold" if is_best else "normal"
            axes.text(
                x, y, f"{value:.3f}", color=palette.ink, ha="center", va="center", fontsize=7.5, fontweight=weight
            )
    axes.set_xlim(-0.5, max(len(chart.x_values), 1) - 0.5)
    axes.set_ylim(-0.5, max(len(chart.y_values), 1) - 0.5)
    crowded = sum(len(value) + 2 for value in chart.x_values) > MOST_LETTERS
    turned = {"rotation": 35, "ha": "right", "fontsize": 7} if crowded else {}
    axes.set_xticks(range(len(chart.x_values)), [escape_tex(v) for v in chart.x_values], **turned)
    axes.set_yticks(range(len(chart.y_values)), [escape_tex(v) for v in chart.y_values])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _tradeoff(chart: Tradeoff, axes: Axes, palette: Palette) -> None:
    axes.grid(color=palette.line, linewidth=0.6)
    _scale(axes, [point.cost for point in chart.points], chart.log_x)
    front = chart.front()
    axes.plot(
        [p.cost for p in front], [p.gain for p in front], color=palette.main, linewidth=1.2, drawstyle="steps-post"
    )
    for point in chart.points:
        on_front = point in front
        color = palette.main if on_front else palette.baseline
        if point.low is not None and point.high is not None:
            axes.plot([point.cost] * 2, [point.low, point.high], color=color, linewidth=1)
        axes.plot([point.cost], [point.gain], color=color, marker="o", markersize=4.5, linestyle="")
    axes.margins(x=0.14, y=0.1)
    for point in _points_to_name(front, axes):
        place = (point.cost, point.gain)
        words = {"color": palette.ink, "fontsize": 7.5, "ha": "right"}  # up and to the left no other point can stand
        axes.annotate(escape_tex(point.name), place, xytext=(-4, 5), textcoords="offset points", **words)


def _points_to_name(front: tuple[Point, ...], axes: Axes) -> list[Point]:
    """Points of the front whose names do not run into each other: the best, then the cheapest, then the rest."""
    chosen: list[Point] = []
    for point in (front[-1:] + front[:-1]) if front else ():
        x, y = axes.transData.transform((point.cost, point.gain))
        others = [axes.transData.transform((other.cost, other.gain)) for other in chosen]
        if all(abs(x - ox) > 60 or abs(y - oy) > 12 for ox, oy in others):
            chosen.append(point)
    return chosen


def _scale(axes: Axes, values: list[float], log: bool) -> None:
    """Few ticks, which one can read: whole numbers for whole numbers, 1-2-5 or decades on a logarithmic axis."""
    if log and values and min(values) > 0:
        axes.set_xscale("log")
        near = max(values) <= 100 * min(values)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if near else LogLocator(numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        whole = all(float(value).is_integer() for value in values)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if 1e4 <= x < 1e7 else f"{x:g}"))


def _rectangle(x: int, y: int, color: str, alpha: float) -> Any:
    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=color, alpha=alpha, linewidth=0)


def escape_tex(text: str) -> str:
    """Text that matplotlib does not take for TeX."""
    return text.replace("$", r"\$")
