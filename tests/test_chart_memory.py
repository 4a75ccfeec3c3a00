"""Charts that differ in their numbers alone are given the lines of the first; any other is drawn."""

import functools
import math
from dataclasses import replace

import pytest

from picdesk.report import plots
from picdesk.report.charts import Chart, Curve, Point, Series, Tradeoff
from tests import chart_memory

CURVE = Curve("loss", "epoch", "loss", (Series("train", (1, 2, 3), (0.5, 0.4, 0.3), role="main"),))

svg_of = functools.cache(plots.svg)


@pytest.fixture
def drawn() -> list[Chart]:
    return []


@pytest.fixture
def remembered(drawn: list[Chart]) -> chart_memory.Draw:
    def draw(chart: Chart, name: str) -> str:
        drawn.append(chart)
        return svg_of(chart, name)

    return chart_memory.draw_once(draw)


def test_the_first_of_a_kind_is_as_it_is_drawn_under_any_name(remembered: chart_memory.Draw) -> None:
    names = ("f1", "f12", "g")
    assert [remembered(CURVE, name) for name in names] == [svg_of(CURVE, name) for name in names]


def test_other_numbers_are_no_other_kind(drawn: list[Chart], remembered: chart_memory.Draw) -> None:
    others = replace(CURVE, title="again", series=(Series("train", (4, 5), (0.1, 0.2), role="main"),))
    assert remembered(others, "f1") == remembered(CURVE, "f1")
    assert drawn == [others]


@pytest.mark.parametrize(
    "other",
    [
        replace(CURVE, log_x=True),
        replace(CURVE, series=(replace(CURVE.series[0], x=(1,), y=(0.5,)),)),
        replace(CURVE, series=(replace(CURVE.series[0], y=(0.5, math.inf, 0.3)),)),
        replace(CURVE, series=(replace(CURVE.series[0], x=(0.1, 0.2, 0.3)),)),
        replace(CURVE, marked=2.0),
        replace(CURVE, y_label="hits@1"),
        replace(CURVE, series=(*CURVE.series, Series("zero-shot", (1, 2), (0.2, 0.2), role="baseline"))),
        replace(CURVE, series=(replace(CURVE.series[0], low=(0.1, 0.1, 0.1), high=(0.9, 0.9, 0.9)),)),
        Tradeoff("cost", "epoch", "loss", (Point("a", 1.0, 0.5), Point("b", 2.0, 0.7))),
    ],
)
def test_all_else_is_another_kind(drawn: list[Chart], remembered: chart_memory.Draw, other: Chart) -> None:
    remembered(CURVE, "f1")
    assert remembered(other, "f1") == svg_of(other, "f1")
    assert drawn == [CURVE, other]
