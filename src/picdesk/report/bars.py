"""The rank histogram of a page, written as SVG at once: two stand on every job's page, and matplotlib takes half a second."""

import math
from html import escape

from picdesk.report.charts import PAGE, VARIABLES, Histogram, bar_colors

WIDTH, HEIGHT = 302.4, 180.0
RIGHT, TOP = 0.985 * WIDTH, 0.04 * HEIGHT
TURN = 35  # degrees that the names of the bins are turned by
MOST_TICKS = 6


def histogram(chart: Histogram) -> str:
    """One `<svg>` element, colours and letters left to the page's style. Equal charts, equal text."""
    most = max((count for _, counts in chart.counts for count in counts), default=0)
    left = 5.0 * len(f"{most:,}") + 20  # digits, gap, the axis label
    bottom = HEIGHT - 24 - 4.2 * max(map(len, chart.bins), default=0) * math.sin(math.radians(TURN))
    upper = 1.05 * max(most, 1)
    slot = (RIGHT - left) / max(len(chart.bins), 1)

    def height(count: float) -> float:
        return bottom - (bottom - TOP) * count / upper

    lines = []
    for tick in ticks(upper):
        y = height(tick)
        lines.append(_line(left, y))
        lines.append(_text(f"{tick:,}", left - 3.5, y + 3, 8, "end"))
    width = 0.8 * slot / max(len(chart.counts), 1)
    for i, ((_, counts), color) in enumerate(zip(chart.counts, bar_colors(chart, PAGE), strict=True)):
        for place, count in enumerate(counts):
            x, y = left + (place + 0.5) * slot + (i - len(chart.counts) / 2 + 0.03) * width, height(count)
            size = f'width="{0.94 * width:.2f}" height="{bottom - y:.2f}"'
            lines.append(f'<rect x="{x:.2f}" y="{y:.2f}" {size} style="fill: var({VARIABLES[color]})"/>')
    lines.append(_line(left, bottom))
    for place, name in enumerate(chart.bins):
        lines.append(_text(name, left + (place + 0.5) * slot + 3, bottom + 10, 7, "end", -TURN))
    lines.append(_text(chart.x_label, (left + RIGHT) / 2, HEIGHT - 4.2, 8))
    lines.append(_text(chart.y_label, 9, (TOP + bottom) / 2, 8, turn=-90))
    return "\n".join([f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" aria-hidden="true">', *lines, "</svg>"])


def ticks(upper: float) -> range:
    """Whole numbers from 0 to `upper`, 1, 2 or 5 times a power of ten apart, few enough to read."""
    step = next(unit * 10**power for power in range(20) for unit in (1, 2, 5) if unit * 10**power * MOST_TICKS >= upper)
    return range(0, int(upper) + 1, step)


def _line(left: float, y: float) -> str:
    return f'<path d="M {left:.2f} {y:.2f} H {RIGHT:.2f}" style="fill: none; stroke: var(--line); stroke-width: 0.6"/>'


def _text(words: str, x: float, y: float, size: int, anchor: str = "middle", turn: int = 0) -> str:
    place = f'transform="translate({x:.2f} {y:.2f}) rotate({turn})"' if turn else f'x="{x:.2f}" y="{y:.2f}"'
    return f'<text {place} style="font-size: {size}px; text-anchor: {anchor}; fill: var(--soft)">{escape(words)}</text>'
