"""A small job page to test on: four pictures of one colour each, two directions, one hit and one miss."""

import io

import PIL.Image

from picdesk.report import charts
from picdesk.report import content as c

COLORS = {"red": "#c22", "green": "#2a2", "blue": "#22c", "red again": "#c22"}


def read_picture(name: str) -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (300, 200), COLORS[name]).save(stream, "PNG")
    return stream.getvalue()


def item(name: str, rank: int, relevant: bool = False) -> c.Item:
    return c.Item(name, f"a {name} wall", name, 1 / (rank + 1), rank, relevant)


def table(direction: str = "t2i") -> c.MetricTable:
    rows = (
        c.MetricRow("trained", {"hits@1": c.Value(0.412, 0.391, 0.434), "mean_rank": c.Value(3.25)}, "main"),
        c.MetricRow("untrained", {"hits@1": c.Value(0.05, 0.01, 0.09), "mean_rank": c.Value(40)}),
        c.MetricRow("chance", {"hits@1": c.Value(0.002)}, "baseline"),
    )
    return c.MetricTable(direction, rows, queries=1200, gallery_size=500)


def curve(title: str = "Loss") -> charts.Curve:
    lines = (
        charts.Series("train", (1, 2), (0.3, 0.2), role="main"),
        charts.Series("validation", (0, 1, 2), (0.5, 0.4, 0.35), (0.4, 0.3, 0.3), (0.6, 0.5, 0.4)),
    )
    return charts.Curve(title, "epoch", "loss", lines, marked=2, mark_label="best")


def hit(text: str = "a red wall") -> c.QueryCard:
    found = (item("red", 1, relevant=True), item("blue", 2), item("green", 3))
    return c.QueryCard("q1", "t2i", (c.Ranking(found, 1),), text, truth=(item("red", 1, True),))


def miss(text: str = "a green wall") -> c.QueryCard:
    found = (item("red", 1), item("blue", 2))
    return c.QueryCard("q2", "t2i", (c.Ranking(found, 37),), text, truth=(item("green", 37, True),))


def i2t() -> c.QueryCard:
    found = (c.Item("t1", "no wall", score=0.5, rank=1), c.Item("t2", "a wall", score=0.4, rank=2, relevant=True))
    return c.QueryCard("red", "i2t", (c.Ranking(found, 2),), picture="red", truth=(found[1],))


def job(**changes: object) -> c.JobPage:
    parts: dict[str, object] = {
        "title": "demo_lite",
        "subtitle": "Heads trained with margin loss.",
        "task": "train",
        "facts": (c.Fact("seed", "7"), c.Fact("command", "python train.py seed=7", wide=True)),
        "tables": (table("t2i"), table("i2t")),
        "training": (curve(),),
        "ranks": (charts.Histogram.of_ranks("Ranks", [("trained", [1, 1, 4, 37])], 500),),
        "groups": (c.CardGroup("Worst misses", (miss(), i2t())), c.CardGroup("Best hits", (hit(),))),
        "slices": (
            c.SliceTable(
                "Length", c.METRICS[0], (c.Slice("short", 3, c.Value(0.5, 0.1, 0.9)),), c.Value(0.4, 0.3, 0.5)
            ),
        ),
        "notes": (c.Note("Uncommitted changes.", warning=True),),
        "next_steps": ("Try more epochs.",),
        "files": ("metrics.json", "odd name?.json"),
    }
    return c.JobPage(**(parts | changes))  # type: ignore[arg-type]
