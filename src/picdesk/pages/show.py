"""What a job shows of its scores: the metric tables, the rank histogram, the best hits and the worst misses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection, Fields, in_words
from picdesk.data.sources import file_of, has_pictures
from picdesk.evaluation.metrics import chance
from picdesk.evaluation.statistics import Interval
from picdesk.interfaces import Direction
from picdesk.measures.listing import LISTED
from picdesk.report.charts import Chart, Curve, Histogram, Series
from picdesk.report.content import CardGroup, Item, MetricRow, MetricTable, QueryCard, Ranking, Role, Value
from picdesk.report.loggers import RetrievedRow
from picdesk.retrieval.scores import ByDirection, Scored, in_order
from picdesk.retrieval.slices import text_rows

PLAIN = ("title", "caption", "tags")
CARDS = 8
"""Best hits, and worst misses, of a direction."""
LOGGED = 30
"""Queries in the logger's table."""


def values_of(scored: Scored) -> dict[str, Value]:
    """Metrics with their intervals, as a table shows them."""
    out = {}
    for name, value in scored.metrics.items():
        if name in ("queries", "gallery", "unfound"):
            continue
        interval = scored.intervals.get(name)
        out[name] = Value(value) if interval is None else Value(value, interval.low, interval.high)
    return out | {name: Value(value) for name, value in scored.listed.items()}


def metric_tables(systems: Sequence[tuple[str, ByDirection, Role]]) -> tuple[MetricTable, ...]:
    """One table a direction; the last row is what a random order would score."""
    tables = []
    for direction, main in in_order(systems[-1][1]):
        rows = [MetricRow(name, values_of(scores[direction]), role) for name, scores, role in systems]
        rows.append(MetricRow("chance", by_chance(main), "baseline"))
        tables.append(
            MetricTable(direction, tuple(rows), queries=len(main.qrels.query_ids), gallery_size=main.run.gallery_size)
        )
    return tuple(tables)


def by_chance(scored: Scored) -> dict[str, Value]:
    """What a random order would score in everything that is reported."""
    queries, gallery = len(scored.qrels.query_ids), scored.run.gallery_size
    expected = chance(scored.qrels, gallery, scored.ks, scored.names)
    wanted = [name for name in LISTED if name in scored.listed or name in scored.names]
    expected |= {name: LISTED[name].by_chance(queries, gallery) for name in wanted}
    return {name: Value(value) for name, value in expected.items()}


def joint_tables(
    systems: Sequence[tuple[str, Mapping[str, Interval], Role]], main: ByDirection
) -> tuple[MetricTable, ...]:
    """The metrics over both directions, a row a system; none where none was asked for."""
    rows = tuple(
        MetricRow(name, {key: Value(one.value, one.low, one.high) for key, one in found.items()}, role)
        for name, found, role in systems
        if found
    )
    if not rows:
        return ()
    queries = sum(len(one.qrels.query_ids) for one in main.values())
    return (MetricTable("both", rows, queries, max(one.run.gallery_size for one in main.values())),)


def rank_charts(scores: ByDirection) -> tuple[Chart, ...]:
    """A histogram of the first relevant item's rank, by direction."""
    charts: list[Chart] = []
    for direction, one in in_order(scores):
        first = one.ranks.first
        found = first[np.isfinite(first)]
        title = {"t2i": "Text to picture", "i2t": "Picture to text"}[direction]
        charts.append(Histogram.of_ranks(title, [("queries", found)], one.run.gallery_size))
    return tuple(charts)


def training_charts(history: Sequence[Mapping[str, float]], best: int) -> tuple[Chart, ...]:
    """Loss and validation hits@1 by epoch; epoch 0 is the start."""
    epochs = tuple(row["epoch"] for row in history)
    lines = tuple(
        Series(name, epochs, tuple(row[key] for row in history), role="main" if key == "val/hits@1" else "other")
        for key, name in (("val/t2i/hits@1", "t2i"), ("val/i2t/hits@1", "i2t"), ("val/hits@1", "mean"))
    )
    trained = [row for row in history if "train/loss" in row]
    loss = Series("loss", tuple(r["epoch"] for r in trained), tuple(r["train/loss"] for r in trained), role="main")
    charts: list[Chart] = [Curve("Validation hits@1", "epoch", "hits@1", lines, history[best]["epoch"], "kept")]
    return (*charts, Curve("Training loss", "epoch", "loss", (loss,))) if trained else tuple(charts)


def path_chart(alphas: tuple[float, ...], scores: tuple[float, ...], chosen: float) -> Chart:
    """Validation hits@1 along the way from the weights before training (0) to the trained ones (1)."""
    line = Series("mean hits@1", alphas, scores, role="main")
    note = "Weights interpolated between before and after (WiSE-FT); the best on validation data was kept."
    title, x_label = "From the start to the trained weights", "share of the trained weights"
    return Curve(title, x_label, "validation hits@1", (line,), chosen, "kept", note=note)


def card_groups(part: Collection, prompts: Sequence[str], scores: ByDirection, shown: int) -> tuple[CardGroup, ...]:
    """Best hits (widest lead of the true item) and worst misses (largest rank), by direction."""
    groups = []
    for direction, one in in_order(scores):
        first = one.ranks.first
        hits = np.flatnonzero(first == 1)
        misses = np.flatnonzero(first != 1)
        worst = misses[np.argsort(-first[misses], kind="stable")][:CARDS]
        sure = hits[np.argsort(-lead(one, hits), kind="stable")][:CARDS]
        name = {"t2i": "text to picture", "i2t": "picture to text"}[direction]
        for title, rows in ((f"Worst misses, {name}", worst), (f"Clearest hits, {name}", sure)):
            cards = tuple(card(direction, part, prompts, one, int(q), shown) for q in rows)
            groups.append(CardGroup(f"{title}", cards))
    return tuple(groups)


def lead(scored: Scored, queries: NDArray[np.int64]) -> NDArray[np.float32]:
    """How far the best item of each query stands above the second."""
    scores = scored.run.scores[queries]
    return scores[:, 0] - scores[:, 1] if scores.shape[1] > 1 else scores[:, 0]


def card(
    direction: Direction, part: Collection, prompts: Sequence[str], scored: Scored, query: int, shown: int
) -> QueryCard:
    """One query with what was found for it and what is relevant to it."""
    run, relevant = scored.run, set(scored.qrels.relevant(query).tolist())
    found = [
        item(direction, part, prompts, int(i), rank, float(s), int(i) in relevant)
        for rank, (i, s) in enumerate(zip(run.index[query, :shown], run.scores[query, :shown], strict=True), 1)
        if i >= 0
    ]
    truth = tuple(item(direction, part, prompts, i, None, None, True) for i in sorted(relevant)[:5])
    rank = known_rank(scored.ranks.first[query])
    query_id = run.query_ids[query]
    return QueryCard(
        id=query_id,
        direction=direction,
        rankings=(Ranking(tuple(found), rank),),
        text=prompts[text_rows(part, scored)[query]] if direction == "t2i" else "",
        picture=query_id if direction == "i2t" else "",
        truth=truth,
    )


def known_rank(rank: float) -> int | None:
    """A rank, or None where the item was not found."""
    return int(rank) if np.isfinite(rank) else None


def item(
    direction: Direction,
    part: Collection,
    prompts: Sequence[str],
    position: int,
    rank: int | None,
    score: float | None,
    relevant: bool,
) -> Item:
    """One gallery item: a picture with the first of its texts and what else is known of it, or a text."""
    if direction == "t2i":
        own = np.flatnonzero(part.picture_of == position)
        text = prompts[own[0]] if len(own) else ""
        details = details_of(part.texts[own[0]]) if len(own) else {}
        name = part.picture_ids[position]
        return Item(name, text, name, score, rank, relevant, file_of(part, position), details)
    details = details_of(part.texts[position])
    return Item(part.text_ids[position], prompts[position], "", score, rank, relevant, details=details)


def details_of(fields: Fields) -> dict[str, str]:
    """What a record says besides its title, caption and tags: the columns of `data.more_columns`, say credit and source."""
    named = {name: in_words(value) for name, value in fields.items()}
    return {name: value for name, value in named.items() if value and name not in PLAIN}


def retrieved_rows(part: Collection, prompts: Sequence[str], scores: ByDirection, shown: int) -> list[RetrievedRow]:
    """The logger's table: for the first queries, the pictures found, with the rank of the true one."""
    if "t2i" not in scores or not has_pictures(part):
        return []
    run, first = scores["t2i"].run, scores["t2i"].ranks.first
    rows, of_query = [], text_rows(part, scores["t2i"])
    for query in range(min(LOGGED, len(run.query_ids))):
        relevant = set(scores["t2i"].qrels.relevant(query).tolist())
        for rank, i in enumerate(run.index[query, :shown], 1):
            if i < 0:
                continue
            score, true_rank = float(run.scores[query, rank - 1]), known_rank(first[query])
            picture = part.pictures.read(int(i))
            name = run.item_ids[i]
            rows.append(
                RetrievedRow(
                    run.query_ids[query],
                    prompts[of_query[query]],
                    rank,
                    name,
                    score,
                    int(i) in relevant,
                    true_rank,
                    picture,
                )
            )
    return rows


def picture_reader(part: Collection) -> Callable[[str], bytes]:
    """Bytes of a picture by its id."""
    place = {name: i for i, name in enumerate(part.picture_ids)}
    return lambda name: part.pictures.read(place[name])


def no_picture(name: str) -> bytes:
    """For a page that asks for no picture."""
    raise KeyError(name)
