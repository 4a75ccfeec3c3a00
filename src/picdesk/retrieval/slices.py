"""hits@1 over parts of the queries: short and long texts, few and many tags, pictures that have a look-alike."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection, in_words
from picdesk.data.facts import PictureFacts
from picdesk.data.near import near_pairs
from picdesk.data.sources import has_pictures
from picdesk.embedding.progress import progress
from picdesk.errors import ConfigError, DataError, examples
from picdesk.evaluation.query_parts import Rest, against_rest
from picdesk.evaluation.shares import sliced_hits
from picdesk.interfaces import Direction
from picdesk.report.content import DIRECTION_NAMES, METRICS, Slice, SliceTable, Value
from picdesk.retrieval.scores import ByDirection, Scored, in_order

log = logging.getLogger(__name__)
HITS = METRICS[0]
MOST_LOOKED_AT = 10_000
SMALLEST = 20
PARTS = 4
MOST_VALUES = 20
ERROR = 0.05
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sliced:
    """Parts of the queries under one heading: a name and a mask [queries] for each; one query is in one part at most."""

    title: str
    parts: tuple[tuple[str, Flags], ...]
    note: str = ""
    asked: bool = False
    """Whether the config names it (`metrics.slices`)."""


def slice_tables(
    part: Collection,
    prompts: Sequence[str],
    scored: ByDirection,
    twins: Flags | None,
    resamples: int,
    seed: int,
    fields: Sequence[str] = (),
    first: Sequence[tuple[Direction, Sliced]] = (),
) -> tuple[SliceTable, ...]:
    """Every slicing of every direction in which at least two parts hold 20 queries or more; what is left out is said.

    `prompts` are the texts as they were encoded; `twins` says which pictures have a look-alike (None: not known); `fields` are
    fields of the texts that queries are parted by besides. `first` are slicings of any size that stand before these, and are
    measured with them: the intervals hold for all parts of the page.
    """
    wanted = [(direction, scored[direction], sliced) for direction, sliced in first]
    for direction, one in in_order(dict(scored)):
        asked = [by_field(name, direction, part, one) for name in fields]
        for sliced in (*asked, *slicings(direction, part, prompts, one, twins)):
            large = large_parts(sliced)
            if sliced.asked:
                tell_left_out(direction, sliced, large)
            if len(large.parts) > 1:
                wanted.append((direction, one, large))
    together = sum(len(large.parts) for _, _, large in wanted)
    return tuple(measure_slices(direction, one, large, resamples, seed, together) for direction, one, large in wanted)


def large_parts(sliced: Sliced) -> Sliced:
    """The parts of 20 queries or more, with a note of the others."""
    large = tuple(part for part in sliced.parts if part[1].sum() >= SMALLEST)
    small = names_of_small(sliced)
    if not small:
        return sliced
    left_out = f"left out, of fewer than {SMALLEST} queries: {examples(small)}"
    return replace(sliced, parts=large, note="; ".join(text for text in (sliced.note, left_out) if text))


def names_of_small(sliced: Sliced) -> list[str]:
    """The parts of fewer than 20 queries, each with their number."""
    counted = [(name, int(mask.sum())) for name, mask in sliced.parts]
    return [f"{name} ({count})" for name, count in counted if count < SMALLEST]


def tell_left_out(direction: Direction, sliced: Sliced, large: Sliced) -> None:
    """Warn of values that have too few queries to be told of, and of a field that parts nothing."""
    small, where = names_of_small(sliced), f"metrics.slices={sliced.title}, {DIRECTION_NAMES[direction].lower()}"
    if len(large.parts) < 2:
        have = f"{len(large.parts)} of {len(sliced.parts)} values have {SMALLEST} queries or more"
        log.warning("%s: no table, for which two are needed: %s", where, have)
    elif small:
        log.warning("%s: left out, of fewer than %d queries: %s", where, SMALLEST, examples(small))


def slicings(
    direction: Direction, part: Collection, prompts: Sequence[str], one: Scored, twins: Flags | None
) -> list[Sliced]:
    """What the queries of one direction are parted by."""
    about = picture_asked_about(direction, part, one)
    found = []
    if direction == "t2i":
        rows = text_rows(part, one)
        words = np.array([len(prompts[row].split()) for row in rows])
        found.append(Sliced("Length of the text", by_number(words, "word"), "Words of the text as it was encoded"))
        if "tags" in part.field_names():
            tags = np.array([tag_count(part.texts[row].get("tags", ())) for row in rows])
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
        return part.picture_of[text_rows(part, one)]
    place = {name: i for i, name in enumerate(part.picture_ids)}
    return np.array([place[name] for name in one.qrels.query_ids], np.int64)


def text_rows(part: Collection, one: Scored) -> NDArray[np.int64]:
    """Position of the text of each query [queries], where the queries are texts."""
    if one.qrels.query_ids == part.text_ids:
        return np.arange(len(part.text_ids))
    place = {name: i for i, name in enumerate(part.text_ids)}
    return np.array([place[name] for name in one.qrels.query_ids], np.int64)


def by_field(name: str, direction: Direction, part: Collection, one: Scored) -> Sliced:
    """The queries by what a field of their text says, or of the first text of the picture that asks; the most frequent values.

    Raises `ConfigError` where no text has the field.
    """
    if name not in part.field_names():
        known = ", ".join(part.field_names())
        raise ConfigError(f"metrics.slices={name}: no text of data={part.name} has that field; there are {known}")
    said = [in_words(fields.get(name, "")) for fields in part.texts]
    if direction == "t2i":
        own = [said[row] for row in text_rows(part, one)]
    else:
        first = dict(zip(reversed(part.picture_of.tolist()), reversed(said), strict=True))
        own = [first.get(int(picture), "") for picture in picture_asked_about(direction, part, one)]
    values = np.array(own, object)
    counted = Counter(own).most_common()
    parts = [(value or "(none)", np.asarray(values == value, np.bool_)) for value, _ in counted[:MOST_VALUES]]
    if len(counted) > MOST_VALUES:
        others = ~np.logical_or.reduce([mask for _, mask in parts])
        parts.append((f"{len(counted) - MOST_VALUES} others", np.asarray(others, np.bool_)))
    return Sliced(name, tuple(parts), f"By the field {name}", asked=True)


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


def measure_slices(
    direction: Direction, one: Scored, sliced: Sliced, resamples: int, seed: int, together: int
) -> SliceTable:
    """hits@1 over each part; the intervals hold for `together` parts at once, as any of them may catch the reader's eye."""
    masks = [mask for _, mask in sliced.parts]
    found = sliced_hits(one.ranks, masks, resamples, seed, level=1 - ERROR / together)
    rest = against_rest(one.ranks, masks, resamples, seed)
    slices = tuple(
        Slice(name, int(mask.sum()), Value(interval.value, interval.low, interval.high), *told_of(apart))
        for (name, mask), interval, apart in zip(sliced.parts, found, rest, strict=True)
    )
    whole = one.intervals.get("hits@1")
    value = one.metrics["hits@1"]
    overall = Value(value) if whole is None else Value(value, whole.low, whole.high)
    said = f"Intervals: 95% for the {together} parts of this page together (Bonferroni)"
    note = "; ".join(text for text in (sliced.note, said) if text)
    macro = Value(float(np.mean([interval.value for interval in found])))
    return SliceTable(f"{DIRECTION_NAMES[direction]}: {sliced.title.lower()}", HITS, slices, overall, note, macro)


def told_of(apart: Rest | None) -> tuple[Value | None, float | None]:
    """The difference to the rest with its interval, and its corrected p."""
    if apart is None:
        return None, None
    return Value(apart.interval.value, apart.interval.low, apart.interval.high), apart.p_family


def slices_json(tables: Sequence[SliceTable], fields: Sequence[str]) -> dict[str, object]:
    """For metrics.json: the parts by the fields that were asked for; nothing where none was."""
    titles = {f"{title}: {name.lower()}": (d, name) for d, title in DIRECTION_NAMES.items() for name in fields}
    found: dict[str, dict[str, object]] = {}
    for table in tables:
        if table.title in titles and table.macro is not None:
            direction, name = titles[table.title]
            parts = {one.name: slice_json(one) for one in table.slices}
            found.setdefault(name, {})[direction] = {"macro_mean": table.macro.value, "parts": parts}
    return {"slices": found} if found else {}


def slice_json(one: Slice) -> dict[str, object]:
    """One part: hits@1 with its interval, and how far it is from the rest."""
    own: dict[str, object] = {"queries": one.queries, "hits@1": [one.value.value, one.value.low, one.value.high]}
    if one.less_rest is not None:
        own |= {"less_rest": [one.less_rest.value, one.less_rest.low, one.less_rest.high], "p_family": one.p}
    return own
