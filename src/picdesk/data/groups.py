"""Which pictures belong together, so that a split must not part them: equal ones, near-duplicates, those of one text.

A text groups its pictures where it is a title, or a caption of data that has one a picture; each groups by itself. Where most
pictures have several captions, these describe what is seen and are shared by nature ("a man in a red shirt"): they group nothing.
A text that stands for more than 1% of the pictures (ten, of few) is boilerplate or a class label: it groups nothing either.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection
from picdesk.data.facts import Look, PictureFacts
from picdesk.data.images import MAX_PIXELS
from picdesk.data.in_threads import look_at_all
from picdesk.data.near import near_pairs
from picdesk.data.repeats import main_texts, positions
from picdesk.data.sources import Joined, has_pictures
from picdesk.errors import ConfigError, DataError

KINDS = ("pictures", "near", "texts")
WORDS = {"pictures": "equal pictures", "near": "near-duplicates", "texts": "equal texts"}
COMMON_SHARE, COMMON = 0.01, 10
Flags = NDArray[np.bool_]
Longs = NDArray[np.int64]
Known = tuple[str, Look | None] | None
"""Digest of a picture and how it looks: None for a look that was not asked for or not to be had, or for the whole."""
See = Callable[[Collection, bool], list[Known]]
"""What is known of each picture of a collection; the flag asks for looks too, which means decoding what is not remembered."""


def chosen_kinds(groups: str | Sequence[str] | None) -> tuple[str, ...]:
    """The value of `split.groups` as kinds, in order. Raises `ConfigError` for a word that is none."""
    asked = list(groups) if isinstance(groups, list | tuple) else [] if groups is None else [groups]
    if asked == ["none"]:
        return ()
    wrong = [word for word in asked if word not in KINDS]
    if wrong:
        raise ConfigError(
            f"split.groups={wrong[0]}: choose none, or of {', '.join(KINDS)}, as in [pictures,near,texts]"
        )
    return tuple(kind for kind in KINDS if kind in asked)


def see_all(
    collection: Collection,
    looks: bool = True,
    facts: PictureFacts | None = None,
    max_pixels: int = MAX_PIXELS,
    on_picture: Callable[[], None] = lambda: None,
) -> list[Known]:
    """Digest and, with `looks`, look of each picture, several at a time; None for what cannot be read or decoded."""
    facts = facts or PictureFacts()

    def see(i: int) -> Known:
        try:
            if looks:
                return facts.look(collection.pictures, i, max_pixels)
            return facts.digest(collection.pictures, i), None
        except DataError:
            return None
        finally:
            on_picture()

    seen = look_at_all(len(collection.picture_ids), see)
    facts.save()
    return seen


@dataclass(frozen=True)
class Links:
    """What makes pictures alike. `same` and `texts` are lists of positions, by id: pictures that are equal (in bytes, or to the
    last step of both hashes and the thumbnail), and those of one text; `near` [pairs, 2] joins the first of each `same`.
    `notes` say what was not looked at."""

    ids: tuple[str, ...]
    same: tuple[tuple[int, ...], ...]
    near: Longs
    texts: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def alike(self, known: Flags) -> Flags:
        """Which other pictures [pictures] have something in common with one of the `known` [pictures]."""
        unit = np.arange(len(self.ids))
        for group in self.same:
            unit[list(group)] = group[0]
        whole = np.zeros(len(self.ids), np.bool_)
        whole[unit[known]] = True
        touched = whole.copy()
        for one, other in (self.near.T, self.near[:, ::-1].T):
            touched[unit[one[whole[unit[other]]]]] = True
        found: Flags = touched[unit]
        for group in self.texts:
            found[list(group)] |= known[list(group)].any()
        return found & ~known


def find_links(collection: Collection, kinds: Sequence[str], see: See = see_all) -> Links:
    """What makes the pictures of a collection alike, by the given kinds (of `KINDS`). The order of rows changes nothing."""
    ids = collection.picture_ids
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    same: list[tuple[int, ...]] = []
    near = np.empty((0, 2), np.int64)
    notes: list[str] = []
    if "pictures" in kinds or "near" in kinds:
        keys, looks, notes = _contents(collection, "near" in kinds, see)
        places = positions((keys[i], i) for i in order.tolist() if keys[i] is not None)
        same = [places_of for places_of in places.values() if len(places_of) > 1]
        firsts = [own[0] for key, own in places.items() if isinstance(key, Look)]
        if "near" in kinds and looks:
            near = np.array(firsts, np.int64)[near_pairs([key for key in places if isinstance(key, Look)])]
    texts, more = _same_texts(collection, order) if "texts" in kinds else ([], [])
    return Links(ids, tuple(same), near, tuple(texts), (*notes, *more))


def components(links: Links, most: int) -> tuple[list[list[int]], tuple[str, ...]]:
    """The groups of two pictures or more, each by id, that the links make, and what to say of those that were not followed.

    No group grows beyond `most`: what would make it larger is left out. Equal pictures are joined first, then near-duplicates,
    then texts, the rarest first, so that what is left out is what says least.
    """
    owner = list(range(len(links.ids)))
    members: dict[int, list[int]] = {}
    left_out = dict.fromkeys(KINDS, 0)

    def root(i: int) -> int:
        while owner[i] != i:
            owner[i] = owner[owner[i]]
            i = owner[i]
        return i

    def join(kind: str, group: Sequence[int]) -> None:
        roots = list(dict.fromkeys(root(i) for i in group))
        parts = [members.get(one, [one]) for one in roots]
        if sum(map(len, parts)) > most:
            left_out[kind] += 1
            return
        for one in roots:
            owner[one] = roots[0]
            members.pop(one, None)
        members[roots[0]] = [i for part in parts for i in part]

    for group in links.same:
        join("pictures", group)
    for pair in sorted(links.near.tolist(), key=lambda pair: sorted(links.ids[i] for i in pair)):
        join("near", pair)
    for group in sorted(links.texts, key=lambda group: (len(group), [links.ids[i] for i in group])):
        join("texts", group)
    grown = [sorted(group, key=links.ids.__getitem__) for group in members.values() if len(group) > 1]
    said = [
        f"{count} links by {WORDS[kind]} were not followed: they would make a group of more than {most} pictures"
        for kind, count in left_out.items()
        if count
    ]
    return sorted(grown, key=lambda group: links.ids[group[0]]), tuple(said)


def join_collections(one: Collection, other: Collection) -> Collection:
    """Two collections as one, with pictures and texts of the second after those of the first; ids are told apart by a prefix."""
    ids, texts = [], []
    for place, of in enumerate((one, other)):
        ids += [f"{place}/{name}" for name in of.picture_ids]
        texts += [f"{place}/{name}" for name in of.text_ids]
    return Collection(
        f"{one.name} and {other.name}",
        tuple(ids),
        Joined((one.pictures, other.pictures)),
        tuple(texts),
        (*one.texts, *other.texts),
        np.concatenate([one.picture_of, other.picture_of + len(one.picture_ids)]).astype(np.int64),
    )


def _contents(collection: Collection, looks: bool, see: See) -> tuple[list[object], bool, list[str]]:
    """What pictures are told by, whether that is how they look, and what to say of those of which nothing is known."""
    if not has_pictures(collection):
        vectors = collection.vectors.get("image")
        if vectors is None:
            return [None] * len(collection.picture_ids), False, ["there are no picture files: none were compared"]
        said = "there are no picture files: equal vectors stand for equal pictures, near-duplicates were not looked for"
        return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in vectors], False, [said]
    seen = see(collection, looks)
    unknown = sum(one is None for one in seen)
    said_of = [f"{unknown} pictures that cannot be decoded were not compared"] if unknown else []
    return [one and (one[1] or one[0]) for one in seen], looks, said_of


def _same_texts(collection: Collection, order: Longs) -> tuple[list[tuple[int, ...]], list[str]]:
    """Pictures of each text that groups, by id, and what to say of texts that do not."""
    names, said = collection.field_names(), []
    if several_captions(collection):
        names = tuple(name for name in names if name == "title")
        said = ["equal captions group no pictures: most pictures have several, and such captions are shared by nature"]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    pairs = zip(collection.texts, collection.picture_of.tolist(), strict=True)
    held = positions((text, i) for fields, i in pairs for text in main_texts(fields, names))
    alike = [tuple(sorted(set(own), key=place.__getitem__)) for own in held.values()]
    most = max(COMMON, int(COMMON_SHARE * len(order)))
    common = sum(len(own) > most for own in alike)
    said += [f"{common} texts that stand for more than {most} pictures each group nothing"] if common else []
    return [own for own in alike if 1 < len(own) <= most], said


def several_captions(collection: Collection) -> bool:
    """Whether the texts are captions of which most pictures that have one have several."""
    counts = np.bincount(collection.picture_of, minlength=1)
    return "caption" in collection.field_names() and bool(np.median(counts[counts > 0]) > 1 if counts.any() else False)


def texts_group(collection: Collection) -> bool:
    """Whether equal texts say that pictures belong together: titles do, and captions of which a picture has one."""
    return "title" in collection.field_names() or not several_captions(collection)
