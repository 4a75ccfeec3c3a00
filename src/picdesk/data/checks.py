"""Looks a data set over before anything is encoded: what is bad is left out and named, what is doubtful is named.

`quick` looks at each picture's size and first bytes; `full` also decodes each and compares all by content.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection, Fields, Skipped
from picdesk.data.check_report import CheckReport, Finding
from picdesk.data.facts import Look, PictureFacts
from picdesk.data.images import MAX_PIXELS, PictureError, check_head
from picdesk.data.in_threads import look_at_all
from picdesk.data.repeats import Seen, Words, fold_text, main_texts, repeated_pictures, repeated_texts
from picdesk.data.sources import PictureFiles, has_pictures, origin
from picdesk.errors import ConfigError, DataError
from picdesk.process import machine

Level = Literal["quick", "full"]
Splits = Mapping[str, NDArray[np.int64]]
READER = "rows left out by the reader"
UNMATCHED = "names in lists of splits that no picture has"
Bad = tuple[str, str]
KINDS = {
    "missing": "pictures missing",
    "empty": "pictures of zero bytes",
    "lfs_pointer": "Git LFS pointers in place of pictures",
    "unknown_format": "files that are no picture",
    "no_plugin": "pictures that need a plugin",
    "too_large": "pictures with too many pixels",
    "truncated": "pictures cut short",
    "unreadable": "pictures that cannot be decoded",
}
NO_PICTURES = "there are embeddings but no picture files, so no picture was looked at"


def check_collection(
    collection: Collection,
    splits: Splits,
    max_bad_fraction: float = 0.01,
    level: Level = "full",
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    facts: PictureFacts | None = None,
    on_picture: Callable[[], None] = lambda: None,
    render: Callable[[Fields], str] | None = None,
) -> CheckReport:
    """Look over pictures, texts and splits. `on_picture` is called once a picture, for a progress bar.

    `render` makes the text that will be encoded; a text is empty if that is. Without it caption and title are looked at.
    Raises `DataError` if more than `max_bad_fraction` of the pictures, or of the rows, are bad.
    """
    if level not in ("quick", "full"):
        raise ConfigError(f"check level {level!r}: quick or full")
    facts = facts or PictureFacts()
    bad, seen = _look_at_all(collection, level, max_pixels, workers or min(8, os.cpu_count() or 1), facts, on_picture)
    facts.save()
    names = collection.field_names()
    words = [main_texts(fields, names) for fields in collection.texts]
    empty = empty_texts(collection, words, render)
    bare = [collection.text_ids[j] for j in empty if not words[j]]
    unsaid = [collection.text_ids[j] for j in empty if words[j]]
    split_of = _split_of(splits, len(collection.picture_ids))
    left_out, unmatched = (
        tuple(f"{skipped.item}: {skipped.reason}" for skipped in collection.skipped if skipped.row is row)
        for row in (True, False)
    )
    found = [
        Finding(READER, "left out", left_out, "row"),
        Finding(UNMATCHED, "reported", unmatched, "row"),
        *_bad_pictures(collection, bad),
        Finding("texts that are empty", "left out", tuple(bare), "row"),
        Finding("texts that the prompt leaves empty", "left out", tuple(unsaid), "row"),
        *repeated_texts(collection, words, split_of),
        *repeated_pictures(collection, seen, split_of),
        *_changed_pictures(collection, seen),
    ]
    pictures = np.setdiff1d(np.arange(len(collection.picture_ids)), list(bad)).astype(np.int64)
    good = np.isin(collection.picture_of, pictures)
    good[empty] = False
    unseen = () if has_pictures(collection) else (NO_PICTURES,)
    rows = (len(collection.texts) or len(collection.picture_ids)) + collection.aside + len(left_out)
    report = CheckReport(
        name=collection.name,
        level=level,
        pictures_seen=len(collection.picture_ids),
        texts_seen=len(collection.texts),
        rows_seen=rows,
        pictures=pictures,
        texts=np.flatnonzero(good).astype(np.int64),
        findings=tuple(finding for finding in found if finding.items),
        notes=(*collection.notes, *unseen),
    )
    report.require(max_bad_fraction)
    return report


def clean_collection(collection: Collection, splits: Splits, report: CheckReport) -> tuple[Collection, Splits]:
    """The collection without what the report leaves out, listed in `skipped`, and the splits counted anew."""
    if len(report.pictures) == len(collection.picture_ids) and len(report.texts) == len(collection.texts):
        return collection, splits
    kept = collection.with_texts(report.texts).take(report.pictures)
    bad = [f for f in report.findings if f.action == "left out" and f.kind != READER]
    dropped = tuple(Skipped(item, finding.kind) for finding in bad for item in finding.items)
    place = np.full(len(collection.picture_ids), -1, np.int64)
    place[report.pictures] = np.arange(len(report.pictures))
    counted = {name: place[rows][place[rows] >= 0] for name, rows in splits.items()}
    return replace(kept, skipped=(*collection.skipped, *dropped)), counted


def empty_texts(collection: Collection, words: Sequence[Words], render: Callable[[Fields], str] | None) -> list[int]:
    """Positions of the texts without `words`; with `render`, of those that render to nothing, or as empty fields would."""
    if render is None:
        return [j for j, own in enumerate(words) if not own]
    blank: Fields = dict.fromkeys(collection.field_names(), "")
    nothing = ("", fold_text(render(blank)))
    return [j for j, fields in enumerate(collection.texts) if fold_text(render({**blank, **fields})) in nothing]


def _look_at_all(
    collection: Collection,
    level: Level,
    max_pixels: int,
    workers: int,
    facts: PictureFacts,
    on_picture: Callable[[], None],
) -> tuple[dict[int, Bad], list[Seen | None]]:
    """Kind and reason of each bad picture, and digest and look of the others (full level only)."""
    if not has_pictures(collection):
        return {}, []

    def look(i: int) -> Seen | Bad | None:
        try:
            if level == "full":
                return facts.look(collection.pictures, i, max_pixels)
            _quick(collection, i)
            return None
        except PictureError as error:
            return error.kind, str(error)
        except DataError as error:
            return "missing", str(error)
        finally:
            on_picture()

    results = look_at_all(len(collection.picture_ids), look, workers)
    bad = {i: (one[0], one[1]) for i, one in enumerate(results) if one is not None and isinstance(one[1], str)}
    return bad, [(one[0], one[1]) if one is not None and isinstance(one[1], Look) else None for one in results]


def _quick(collection: Collection, i: int) -> None:
    source, place = origin(collection.pictures, i)
    if not isinstance(source, PictureFiles):
        check_head(source.read(place)[:64])
        return
    try:
        with source.file(place)[0].open("rb") as stream:
            check_head(stream.read(64))
    except OSError as error:
        machine.refuse(error)
        raise DataError(f"cannot be read ({error.strerror or error})") from None


def _split_of(splits: Splits, count: int) -> list[str]:
    names = [""] * count
    for name, rows in splits.items():
        for i in rows:
            names[int(i)] = name
    return names


def _bad_pictures(collection: Collection, bad: Mapping[int, Bad]) -> Iterator[Finding]:
    for kind, words in KINDS.items():
        items = [
            f"{collection.picture_ids[i]}: {reason}" for i, (found, reason) in sorted(bad.items()) if found == kind
        ]
        yield Finding(words, "left out", tuple(items), "picture")


def _changed_pictures(collection: Collection, seen: Sequence[Seen | None]) -> Iterator[Finding]:
    """What decoding changed of the pictures that were decoded."""
    changed: dict[str, list[str]] = {}
    for name, one in zip(collection.picture_ids, seen, strict=False):
        for kind in one[1].changes if one is not None else ():
            changed.setdefault(kind, []).append(name)
    yield from (Finding(kind, "reported", tuple(names), "picture") for kind, names in sorted(changed.items()))
