"""hits@1 over parts of the queries: short and long texts, few and many tags, pictures that have a look-alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.data.facts import PictureFacts
from picdesk.data.near import near_pairs
from picdesk.data.sources import has_pictures
from picdesk.embedding.progress import progress
from picdesk.errors import DataError
from picdesk.evaluation.shares import sliced_hits
from picdesk.interfaces import Direction
from picdesk.report.content import DIRECTION_NAMES, METRICS, Slice, SliceTable, Value
from picdesk.retrieval.scores import Scored, in_order

HITS = METRICS[0]
MOST_LOOKED_AT = 10_000
SMALLEST = 20
PARTS = 4
ERROR = 0.05
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sliced:
    """Parts of the queries under one heading: a name and a mask [queries] for each; one query is in one part at most."""

    title: str
    parts: tuple[tuple[str, Flags], ...]
    note: str = ""


def slice_tables(
    part: Collection,
    prompts: Sequence[str],
    scored: Mapping[Direction, Scored],
    twins: Flags | None,
    resamples: int,
    seed: int,
) -> tuple[SliceTable, ...]:
    """Every slicing of every direction in which at least two parts hold 20 queries or more.

    `prompts` are the texts as they were encoded; `twins` says which pictures have a look-alike (None: not known).
    """
    wanted = []
    for direction, one in in_order(dict(scored)):
        for sliced in slicings(direction, part, prompts, one, twins):
            large = Sliced(sliced.title, tuple(p for p in sliced.parts if p[1].sum() >= SMALLEST), sliced.note)
            if len(large.parts) > 1:
                wanted.append((direction, one, large))
    together = sum(len(large.parts) for _, _, large in wanted)
    return tuple(measured(direction, one, large, resamples, seed, together) for direction, one, large in wanted)


def slicings(
    direction: Direction, part: Collection, prompts: Sequence[str], one: Scored, twins: Flags | None
) -> list[Sliced]:
    """What the queries of one direction are parted by."""
    about = picture_asked_about(direction, part, one)
    found = []
    if direction == "t2i":
        words = np.array([len(text.split()) for text in prompts])
        found.append(Sliced("Length of the text", by_number(words, "word"), "Words of the text as it was encoded"))
        if "tags" in part.field_names():
            tags = np.array([tag_count(fields.get("tags", ())) for fields in part.texts])
            found.append(Sliced("Number of tags", by_number(tags, "tag")))
    if twins is not None:
        whose = "The true picture" if direction == "t2i" else "The picture that is asked about"
        parts = (("a look-alike in the gallery", twins[about]), ("none", ~twins[about]))
        found.append(
            Sliced("Pictures that look alike", parts, f"{whose} has, by perceptual hashes, a near-duplicate or not")
        )
    return found


def tag_count(tags: str | Sequence[str]) -> int:
    """How many tags a record has; a text is one."""
    return int(bool(tags)) if isinstance(tags, str) else len(tags)


def picture_asked_about(direction: Direction, part: Collection, one: Scored) -> NDArray[np.int64]:
    """Position of the picture of each query [queries]."""
    if direction == "t2i":
        return part.picture_of
    place = {name: i for i, name in enumerate(part.picture_ids)}
    return np.array([place[name] for name in one.qrels.query_ids], np.int64)


def by_number(numbers: NDArray[np.int64], unit: str) -> tuple[tuple[str, Flags], ...]:
    """Four parts of about equal size by a whole number, fewer where many are equal: `1 to 4 words`, ..., `12 or more words`."""
    if not len(numbers):
        return ()
    shares = np.arange(1, PARTS) / PARTS
    edges = np.unique(np.quantile(numbers, shares, method="inverted_cdf"))
    lows = [int(numbers.min()), *(int(edge) + 1 for edge in edges if edge < numbers.max())]
    parts = []
    for low, after in zip(lows, [*lows[1:], None], strict=True):
        mask = (numbers >= low) & (numbers < after if after is not None else True)
        high = int(numbers[mask].max(initial=low))
        plural = unit if high == 1 and after is not None else f"{unit}s"
        name = (
            f"{low} or more {unit}s"
            if after is None
            else f"{low} {plural}"
            if low == high
            else f"{low} to {high} {plural}"
        )
        parts.append((name, np.asarray(mask, np.bool_)))
    return tuple(parts)


def look_alikes(part: Collection, facts: PictureFacts) -> Flags | None:
    """Which pictures [pictures] have a near-duplicate in the gallery; None where there are none to look at, or too many."""
    count = len(part.picture_ids)
    if count > MOST_LOOKED_AT or not has_pictures(part):
        return None
    try:
        with progress("comparing pictures", count) as advance:
            looks = []
            for i in range(count):
                looks.append(facts.look(part.pictures, i)[1])
                advance(1)
    except DataError:
        return None
    facts.save()
    alike = np.zeros(count, np.bool_)
    alike[near_pairs(looks).ravel()] = True
    return alike


def measured(direction: Direction, one: Scored, sliced: Sliced, resamples: int, seed: int, together: int) -> SliceTable:
    """hits@1 over each part; the intervals hold for `together` parts at once, as any of them may catch the reader's eye."""
    masks = [mask for _, mask in sliced.parts]
    found = sliced_hits(one.ranks, masks, resamples, seed, level=1 - ERROR / together)
    slices = tuple(
        Slice(name, int(mask.sum()), Value(interval.value, interval.low, interval.high))
        for (name, mask), interval in zip(sliced.parts, found, strict=True)
    )
    whole = one.intervals.get("hits@1")
    value = one.metrics["hits@1"]
    overall = Value(value) if whole is None else Value(value, whole.low, whole.high)
    said = f"Intervals: 95% for the {together} parts of this page together (Bonferroni)"
    note = "; ".join(text for text in (sliced.note, said) if text)
    return SliceTable(f"{DIRECTION_NAMES[direction]}: {sliced.title.lower()}", HITS, slices, overall, note)
