"""Pictures and texts that stand more than once, within a split and across splits."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from picdesk.collection import Collection
from picdesk.data.check_report import Finding
from picdesk.data.facts import Look
from picdesk.data.near import near_pairs

Seen = tuple[str, Look]


def repeated_texts(collection: Collection, words: Sequence[str], split_of: Sequence[str]) -> Iterator[Finding]:
    """Texts that stand for several pictures, across splits or within one, and those that a picture has twice."""
    across, within, twice = [], [], []
    for group in groups(words):
        pictures = [int(collection.picture_of[j]) for j in group]
        shown = f"{words[group[0]][:80]!r}: " + _list_pictures(
            [collection.text_ids[j] for j in group], pictures, split_of
        )
        if len({split_of[i] for i in pictures} - {""}) > 1:
            across.append(shown)
        elif len(set(pictures)) > 1:
            within.append(shown)
        else:
            twice.append(shown)
    yield Finding("texts repeated across splits", "reported", tuple(across), "text")
    yield Finding("texts repeated within a split", "reported", tuple(within), "text")
    yield Finding("texts that one picture has twice", "reported", tuple(twice), "text")


def repeated_pictures(
    collection: Collection, seen: Sequence[Seen | None], split_of: Sequence[str]
) -> Iterator[Finding]:
    """Equal pictures (SHA-256) and pairs that look alike (perceptual hash), across splits and within one."""
    holders = defaultdict(list)
    for i, one in enumerate(seen):
        if one is not None:
            holders[one[0]].append(i)
    alike = list(holders.values())
    looks = [one[1] for group in alike if (one := seen[group[0]]) is not None]
    equal = [group for group in alike if len(group) > 1]
    near = [(alike[a], alike[b]) for a, b in near_pairs(looks).tolist()]
    found = {
        "equal pictures": [(group, group) for group in equal],
        "near-duplicate pictures": [([a[0], b[0]], a + b) for a, b in near],
    }
    for what, cases in found.items():
        across: list[tuple[str, tuple[str, ...]]] = []
        within: list[tuple[str, tuple[str, ...]]] = []
        for shown, involved in cases:
            apart = len({split_of[i] for i in involved} - {""}) > 1
            members = involved if apart else shown
            named = _list_pictures([collection.picture_ids[i] for i in members], members, split_of)
            ids = tuple(collection.picture_ids[i] for i in shown)
            (across if apart else within).append((named, ids))
        for where, these in (("across splits", across), ("within a split", within)):
            items, together = tuple(named for named, _ in these), tuple(ids for _, ids in these)
            yield Finding(f"{what} {where}", "reported", items, "picture", together)


def groups(keys: Sequence[str]) -> list[list[int]]:
    """Positions of equal keys, for each key that is not empty and stands more than once, in order of first appearance."""
    places = defaultdict(list)
    for i, key in enumerate(keys):
        if key:
            places[key].append(i)
    return [group for group in places.values() if len(group) > 1]


def _list_pictures(names: Sequence[str], pictures: Sequence[int], split_of: Sequence[str], most: int = 6) -> str:
    shown = [f"{name} ({split_of[i] or 'no split'})" for name, i in zip(names, pictures, strict=True)]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
