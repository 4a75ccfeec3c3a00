"""Whether a checkpoint has seen the pictures that it is scored on, or look-alikes of them; and the scores without these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from picdesk.assembly import shelf
from picdesk.assembly.again import is_export_of, learned_on, lineage, makers
from picdesk.assembly.reading import Looks
from picdesk.assembly.session import Session
from picdesk.collection import Collection
from picdesk.data.groups import KINDS, Flags, find_links, join_collections, texts_group
from picdesk.data.sources import has_pictures
from picdesk.errors import UserError, first_line
from picdesk.evaluation.metrics import metrics_of
from picdesk.evaluation.statistics import intervals
from picdesk.files import digest_of
from picdesk.interfaces import Direction
from picdesk.report.content import Note
from picdesk.report.metrics_file import LOOK_ALIKES
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.scores import ByDirection, in_order
from picdesk.retrieval.slices import Sliced, picture_asked_about
from picdesk.training.checkpoint import Checkpoint

NOTHING_TO_COMPARE = (
    "one of the two has no picture files, and where pictures have several captions each, equal ones say nothing"
)


@dataclass(frozen=True)
class Learned:
    """The pictures that a job's weights were learned from, or chosen by: `ids` of `collection`, which is another data set than
    the one that is scored where `elsewhere`. `unknown` says why it cannot be told, or not of all checkpoints at work; `before`
    why it cannot be told of a checkpoint from which a fit went on to these weights."""

    collection: Collection
    ids: frozenset[str]
    elsewhere: bool = False
    unknown: str = ""
    before: str = ""


@dataclass(frozen=True)
class Apart:
    """What the queries about look-alikes change: for metrics.json, how to part the queries on the page, and in one line."""

    numbers: Mapping[str, object]
    slices: tuple[tuple[Direction, Sliced], ...]
    notes: tuple[Note, ...]


def learned_by_fit(dataset: Dataset, start: Learned | None = None) -> Learned:
    """What a fit on this data set learns from: its train and val parts, and what its start has learned from of the same data."""
    before = start.ids if start is not None and not start.elsewhere else frozenset()
    return Learned(dataset.collection, ids_of(dataset.collection, dataset.splits) | before)


def learned_by(session: Session) -> Learned | None:
    """What the checkpoints at work, those of rerankers and of given vectors and their text tower too, and those from which their
    fits went on have learned from, by the data set and the split of the config beside each; None without one.

    Looked up once by all jobs of a sweep over the same checkpoint and data. Where a checkpoint learned from this data set and
    another from another one, what is said is of the former; what is known of one is said, whatever is not known of others.
    """
    own, found = [] if session.checkpoint is None else [session.checkpoint], []
    try:
        own += makers(session)
    except UserError as error:
        found.append(Learned(session.dataset.collection, frozenset(), True, first_line(error, most=None)))
    lines = [lineage(session, one) for one in (*own, *session.rerankers.checkpoints())]
    found += [learned_from(session, one) for line, _ in lines for one in line]
    before = next((why for _, why in lines if why), "")
    untold = next((one for one in found if one.unknown), None)
    here = [one for one in found if not one.elsewhere and not one.unknown]
    if not here:
        only = untold or next(iter(found), None)
        return only and replace(only, before=before)
    ids = frozenset[str]().union(*(one.ids for one in here))
    return Learned(here[0].collection, ids, unknown=untold.unknown if untold is not None else "", before=before)


def learned_from(session: Session, checkpoint: Checkpoint) -> Learned:
    """What one checkpoint has learned from."""
    config = checkpoint.config_path.stat()
    root = session.plain_node("paths")["data_root"]
    known = [root, session.dataset.key, checkpoint.digest, config.st_size, config.st_mtime_ns]
    return shelf.keep_in_sweep("learned", digest_of(known), lambda: look_up(session, checkpoint))


def look_up(session: Session, checkpoint: Checkpoint) -> Learned:
    """As `learned_from`, not kept."""
    dataset, (there, elsewhere) = session.dataset, learned_on(session, checkpoint)
    if there is None:
        return learned_by_fit(dataset)
    try:
        collection, splits, _ = there.read_and_split()
        exported = elsewhere and is_export_of(session, there)
    except UserError as error:  # what is gone, say a split file: no reason to refuse the job
        return Learned(dataset.collection, frozenset(), elsewhere, first_line(error, most=None))
    ids = ids_of(collection, splits)
    if exported:
        return Learned(dataset.collection, ids.intersection(dataset.collection.picture_ids))
    if elsewhere and not comparable_kinds(collection, dataset.collection):
        return Learned(collection, frozenset(), True, NOTHING_TO_COMPARE)
    return Learned(collection, ids, elsewhere)


def comparable_kinds(one: Collection, other: Collection) -> Sequence[str]:
    """By which `KINDS` pictures of two data sets can be found alike; by none where neither files nor texts tell."""
    if has_pictures(one) and has_pictures(other):
        return KINDS
    return KINDS[2:] if texts_group(join_collections(one, other)) else ()


def ids_of(collection: Collection, splits: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the pictures of train and val."""
    return frozenset(collection.picture_ids[i] for name in ("train", "val") for i in splits[name])


def learned_note(learned: Learned | None, part: Collection) -> tuple[Note, ...]:
    """Say so where pictures of this part were learned from, or chosen by, when a checkpoint was trained."""
    if learned is None:
        return ()
    if learned.unknown and learned.ids:
        told = "Whether further pictures of this part were learned from, or look like one that was, cannot be told"
        return (*learned_note(replace(learned, unknown=""), part), Note(f"{told}: {learned.unknown}", True))
    if learned.unknown:
        what = "look like those that the checkpoint learned from" if learned.elsewhere else "were learned from"
        return (Note(f"Whether pictures of this part {what} cannot be told: {learned.unknown}", not learned.elsewhere),)
    told = f"What the checkpoint that a fit went on from had learned from cannot be told: {learned.before}"
    before = (Note(told, True),) if learned.before else ()
    both = 0 if learned.elsewhere else len(learned.ids.intersection(part.picture_ids))
    if not both:
        return before
    return (
        *before,
        Note(
            f"{both:,} of the {len(part.picture_ids):,} pictures of this part were learned from, or chosen by, when a "
            "checkpoint at work was trained: these are not numbers of unseen pictures",
            True,
        ),
    )


def without_look_alikes(session: Session, part: Collection, learned: Learned | None, scores: ByDirection) -> Apart:
    """The scores without queries about pictures that were learned from or look like, or have the text of, one that was."""
    if learned is None or not learned.ids:
        return Apart({}, (), ())
    key = digest_of([session.dataset.part_key(part), learned.collection.name, sorted(learned.ids)])
    alike = shelf.keep_in_sweep("seen_before", key, lambda: look_alikes(session.dataset, part, learned, session.looks))
    numbers: dict[str, object] = {"pictures": len(alike), "look_alikes": int(alike.sum())}
    sliced_by, said, bars_by = [], [], session.bars
    for direction, one in in_order(dict(scores)):
        of_query = alike[picture_asked_about(direction, part, one)]
        kept = one.ranks.take(np.flatnonzero(~of_query)) if not of_query.all() else None
        if kept is None:
            continue
        if not of_query.any() and np.array_equal(kept.cluster, one.ranks.cluster):  # nothing is left out: drawn alike
            bars = one.intervals
        else:
            bars = intervals(kept, one.ks, bars_by.resamples, bars_by.seed, bars_by.level, one.names)
        metrics = metrics_of(kept, one.ks, one.names)
        ends = {name: [bars[name].low, bars[name].high] for name in bars}
        numbers[direction] = {"metrics": metrics, "intervals": ends}
        if of_query.any():
            hits = f"{metrics['hits@1']:.3f} [{ends['hits@1'][0]:.3f}, {ends['hits@1'][1]:.3f}]"
            all_of = f"{one.metrics['hits@1']:.3f} over {len(of_query):,}"
            said.append(f"{direction} hits@1 {hits} over {len(kept.query_ids):,} queries (with them {all_of})")
            parts = (("a look-alike in train or val", of_query), ("none", ~of_query))
            sliced = Sliced(
                "Seen before", parts, "Equal pictures, near-duplicates and equal texts; see docs/metrics.md"
            )
            sliced_by.append((direction, sliced))
    return Apart({LOOK_ALIKES: numbers}, tuple(sliced_by), (note_of(learned, alike, said),))


def note_of(learned: Learned, alike: Flags, said: list[str]) -> Note:
    """One line: how many pictures have look-alikes, and hits@1 without them."""
    where = f"train or val of data={learned.collection.name}" if learned.elsewhere else "train or val"
    if not alike.any():
        return Note(f"none of the {len(alike):,} pictures has a look-alike in {where}")
    of = f"{int(alike.sum()):,} of the {len(alike):,} pictures have a look-alike in {where}"
    return Note(f"{of}. Without them: {'; '.join(said) or 'nothing is left'}", True)


def look_alikes(dataset: Dataset, part: Collection, learned: Learned, looks: Looks) -> Flags:
    """Which pictures [pictures of the part] were learned from, or have a look-alike among those that were."""
    if learned.elsewhere:
        there = learned.collection
        known = np.array([name in learned.ids for name in there.picture_ids] + [False] * len(part.picture_ids))
        both = join_collections(there, part)
        links = find_links(both, comparable_kinds(there, part), looks.see)
        return links.alike(known)[len(there.picture_ids) :]
    links = find_links(dataset.collection, KINDS, looks.see)
    known = np.array([name in learned.ids for name in dataset.collection.picture_ids])
    place = {name: i for i, name in enumerate(dataset.collection.picture_ids)}
    found: Flags = (links.alike(known) | known)[[place[name] for name in part.picture_ids]]
    return found
