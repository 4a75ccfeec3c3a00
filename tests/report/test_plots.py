import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from picdesk.errors import DataError
from picdesk.report import bars, charts, figures, plots
from picdesk.report.charts import PAGE
from tests.report import sample

CHARTS = {
    "curve": sample.curve(),
    "bars": charts.Curve("w", "w", "hits@1", sample.curve().series, log_x=False, bars=True),
    "histogram": charts.Histogram.of_ranks("ranks", [("a", [1, 2, 900]), ("b", [1, 1, 1])], 1000),
    "heat": charts.HeatMap("h", "x", "y", ("1", "2"), ("3", "4"), ((0.1, None), (0.3, 0.2))),
    "trade": charts.Tradeoff("t", "ms", "hits@1", (charts.Point("a", 1, 0.4, 0.3, 0.5), charts.Point("b", 2, 0.5))),
}


@pytest.mark.parametrize("name", CHARTS)
def test_an_svg_is_one_clean_element_in_the_colours_of_the_page(name):
    svg = plots.svg(CHARTS[name], "f1")
    ET.fromstring(svg)  # well formed
    assert svg.startswith('<svg class="plot" viewBox=')
    assert not re.search(r"#0101\d\d|font-family|xmlns|<metadata|DejaVu|<!--|http", svg)
    assert "var(--soft)" in svg
    assert set(re.findall(r'id="([^"-]+)-', svg)) <= {"f1"}
    assert plots.svg(CHARTS[name], "f1") == svg, "equal charts are equal bytes"


@pytest.mark.parametrize("name", CHARTS)
def test_equal_charts_are_equal_bytes_as_files_too(name, tmp_path):
    plots.save_png(CHARTS[name], tmp_path / "a.png")
    plots.save_png(CHARTS[name], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_labels_are_letters_whatever_they_hold():
    nasty = "costs $5 to $10 <b> & 猫 \\frac{1}{2}"
    svg = plots.svg(charts.Curve("t", nasty, "$", sample.curve().series), "f1")
    words = [element.text for element in ET.fromstring(svg).iter() if element.text]
    assert nasty in words
    assert "$" in words


def test_an_empty_chart_can_still_be_drawn():
    for chart in (
        charts.Curve("t", "x", "y", ()),
        charts.Tradeoff("t", "x", "y", ()),
        charts.HeatMap("t", "x", "y", (), (), ()),
        charts.Histogram.of_ranks("t", [("a", [])], 1),
    ):
        assert plots.svg(chart, "f1").startswith("<svg")
        figures.numbers(chart)


def test_rank_bins_hold_every_rank_once():
    ranks = np.arange(1, 1001)
    histogram = charts.Histogram.of_ranks("t", [("all", ranks)], 1000)
    assert histogram.bins[:5] == ("1", "2", "3–5", "6–10", "11–20")
    assert histogram.bins[-1] == "501–1,000"
    assert sum(histogram.counts[0][1]) == 1000
    assert histogram.counts[0][1][:4] == (1, 1, 3, 5)
    assert charts.Histogram.of_ranks("t", [("a", [1])], 1).bins == ("1",)
    for wrong in ([0], [1001]):
        with pytest.raises(DataError, match="outside 1 to 1000"):
            charts.Histogram.of_ranks("t", [("all", wrong)], 1000)


def test_the_front_holds_what_no_other_beats_on_both():
    points = [
        charts.Point(n, cost, gain) for n, cost, gain in (("a", 1, 0.3), ("b", 2, 0.2), ("c", 2, 0.5), ("d", 3, 0.5))
    ]
    front = charts.Tradeoff("t", "x", "y", tuple(points)).front()
    assert [point.name for point in front] == ["a", "c"]


def test_a_series_of_uneven_length_is_refused():
    with pytest.raises(DataError, match="'val'"):
        charts.Series("val", (1, 2), (0.5,))
    with pytest.raises(DataError, match="'val'"):
        charts.Series("val", (1, 2), (0.5, 0.4), low=(0.1, 0.1))


def test_numbers_of_a_curve_stand_in_a_table():
    header, rows = figures.numbers(sample.curve())
    assert header == ("epoch", "train", "validation")
    assert rows[0] == ("0", "–", "0.5000")
    assert figures.legend(sample.curve()) == (("train", "--main"), ("validation", "--other-1"))


def test_the_bars_of_a_histogram_stand_as_high_as_their_counts():
    histogram = charts.Histogram("t", "<rank>", "queries", ("1", "2–3"), (("a", (10, 5)), ("b", (0, 20))))
    root = ET.fromstring(bars.histogram(histogram))
    drawn = [bar.attrib for bar in root.iter("rect")]
    assert [float(bar["height"]) / float(drawn[3]["height"]) for bar in drawn] == pytest.approx(
        [0.5, 0.25, 0, 1], abs=1e-3
    )
    ends = [float(bar["y"]) + float(bar["height"]) for bar in drawn]
    assert max(ends) - min(ends) < 0.02  # points: two roundings to a hundredth
    assert len({bar["style"] for bar in drawn}) == 2
    words = [text.text for text in root.iter("text")]
    assert words == ["0", "5", "10", "15", "20", "1", "2–3", "<rank>", "queries"]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        (0.001, 0.003),
        (0.0001, 0.00035, 0.0007),
        (1e-6, 1e-3, 1),
        (1, 40),
        (0.1, 0.25),
        (123456, 987654),
        (1e-5, 3e-5),
        (3, 7),
    ],
)
def test_labels_of_an_axis_stand_apart(values: tuple[float, ...], log: bool) -> None:
    series = charts.Series("t2i", values, tuple(0.2 for _ in values))
    chart = charts.Curve("a title", "optimizer.lr", "hits@1", (series,), log_x=log)
    figure = plots._figure(chart, PAGE)
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    low, high = sorted(axis.get_view_interval())
    boxes = [
        label.get_window_extent()
        for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
        if low <= place <= high and label.get_text()
    ]
    assert len(boxes) >= 2
    assert all(one.x1 < two.x0 for one, two in itertools.pairwise(boxes))
