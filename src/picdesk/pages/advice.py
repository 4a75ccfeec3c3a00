"""What to try next, only where it follows from something that this job measured, and saying what that was."""

from __future__ import annotations

from collections.abc import Sequence

from picdesk.report.content import DIRECTION_NAMES, Slice, SliceTable
from picdesk.retrieval.scores import ByDirection, in_order

WORTH_RERANKING = 0.1
CHANCE_LEVEL = 5.0


def of_scores(scored: ByDirection, tables: Sequence[SliceTable]) -> tuple[str, ...]:
    """What the scores and the slices of a job suggest."""
    return (*reranking(scored), *approximation(scored), *(step for table in tables for step in weak_parts(table)))


def reranking(scored: ByDirection) -> list[str]:
    """A true item among the first ten that is not the first is what a reranker can win."""
    gaps = {
        direction: float((one.ranks.first <= 10).mean()) - one.metrics["hits@1"]
        for direction, one in in_order(dict(scored))
        if one.metrics["hits@1"] * one.run.gallery_size > CHANCE_LEVEL
    }
    wide = {direction: gap for direction, gap in gaps.items() if gap >= WORTH_RERANKING}
    if not wide:
        return []
    said = " and ".join(f"{gap:.0%} of the {direction} queries" for direction, gap in wide.items())
    return [
        f"For {said} a relevant item stands at ranks 2 to 10. That is the most a reranker of ten candidates could win: "
        "see reranker=... and task=tune_weights."
    ]


def approximation(scored: ByDirection) -> list[str]:
    """What an approximate index cost in hits@1."""
    lost = {
        direction: one.exact_hits - one.metrics["hits@1"]
        for direction, one in in_order(dict(scored))
        if one.exact_hits is not None
    }
    return [
        f"{DIRECTION_NAMES[direction]}: the index costs {loss:.3f} of hits@1 against exact search. Raise efSearch or nprobe "
        "(task=tune_index shows the trade), or use index=flat."
        for direction, loss in lost.items()
        if loss >= 0.0005
    ]


def weak_parts(table: SliceTable) -> list[str]:
    """A part of the queries whose whole interval, which is for all parts of the page at once, lies below that of all queries."""
    if table.overall.low is None:
        return []
    low = [part for part in table.slices if part.value.high is not None and part.value.high < table.overall.low]
    return [
        f"{table.title}: {describe(part)} against {table.overall.value:.3f} of all queries. {remedy(table.title)}"
        for part in low
    ]


def describe(part: Slice) -> str:
    """One part in words."""
    return f"queries with {part.name} ({part.queries:,}) reach hits@1 {part.value.value:.3f}"


def remedy(title: str) -> str:
    """What has to do with a slice's heading."""
    if "alike" in title:
        return "Near-duplicates share the first place: task=check lists them; one of each pair can be left out."
    if "tags" in title:
        return "Compare the prompts with and without tags: -m prompt=title,headline_topics."
    return "Compare the prompts that fill the text with other fields (-m prompt=...), and look at those queries below."
