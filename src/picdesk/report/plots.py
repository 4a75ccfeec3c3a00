"""Plots of `charts.py`, drawn by matplotlib: SVG that takes its colours from the page around it, and PNG files."""

import io
import re
import warnings
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from picdesk.files import written_whole
from picdesk.report import drawing
from picdesk.report.charts import PAGE, PAPER, VARIABLES, Chart, Palette

SIZE = (
    4.2,
    2.5,
)  # inches; 302 points wide, so that letters of 8 points are 9.5 px where a telephone shows it 358 px wide
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "picdesk",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def svg(chart: Chart, name: str) -> str:
    """One `<svg>` element for a page; `name` keeps its ids apart from those of other plots. Equal charts, equal text."""
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser draws the letters
        figure = _figure(chart, PAGE)
        FigureCanvasSVG(figure).print_svg(
            stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _inline(stream.getvalue(), name)


def save_png(chart: Chart, path: Path | str) -> None:
    """Write a PNG file on white, 200 pixels an inch, with the title and legend that stand in the page otherwise."""
    with matplotlib.rc_context(STYLE), written_whole(path) as temporary:
        figure = _figure(chart, PAPER)
        axes = figure.axes[0]
        axes.set_title(drawing.escape_tex(chart.title), loc="left", fontsize=9, fontweight="bold", color=PAPER.ink)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(frameon=False, fontsize=7, labelcolor=PAPER.ink)
        figure.savefig(temporary, format="png", dpi=200, facecolor="white", metadata={"Software": None})


def _figure(chart: Chart, palette: Palette) -> Figure:
    figure = Figure(figsize=SIZE, dpi=100, layout="constrained")
    axes = figure.add_subplot()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    drawing.draw(chart, axes, palette)
    return figure


def _inline(text: str, name: str) -> str:
    """Cut matplotlib's file down to what belongs in a page, colours and letters left to the page's own style."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg class="plot" viewBox="\1" aria-hidden="true">', text, count=1
    )
    text = text.replace("xlink:href=", "href=")
    text = re.sub(
        r'\sid="(?:figure|axes|patch|line2d|matplotlib\.axis|[xy]tick|text|legend|PolyCollection)_[^"]*"', "", text
    )
    text = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: (?:(?:normal|italic|bold|\d{3}) )*([\d.]+)px [^;\"]+", r"font-size: \1px", text)
    text = re.sub(r" font-family: [^;\"]+;", "", text)
    text = re.sub(r'\s*<style type="text/css">.*?</style>', "", text, flags=re.S)
    for stand_in, variable in VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    return text.strip()
