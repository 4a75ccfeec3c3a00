"""Pictures and texts that stand more than once, within a split and across splits."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from picdesk.collection import Collection, Fields
from picdesk.data.check_report import Finding
from picdesk.data.facts import Look
from picdesk.data.near import near_pairs

Seen = tuple[str, Look]
Words = tuple[str, ...]
Key = TypeVar("Key")


def main_texts(fields: Fields, field_names: Sequence[str]) -> Words:
    """What a text may be asked with: its caption and its title, each by itself, where there are such fields; else all as one.

    Spaces and case are evened out; what is empty is not among them, nor is what stands there already.
    """
    main = [name for name in ("caption", "title") if name in field_names]
    values = [fields.get(name, "") for name in main or field_names]
    parts = [value if isinstance(value, str) else " ".join(value) for value in values]
    folded = map(fold_text, parts if main else [" ".join(parts)])
    return tuple(dict.fromkeys(text for text in folded if text))


def fold_text(text: str) -> str:
    """A text with spaces and case evened out."""
    return " ".join(text.casefold().split())


def repeated_texts(collection: Collection, words: Sequence[Words], split_of: Sequence[str]) -> Iterator[Finding]:
    """Texts that stand for several pictures, across splits or within one, and those that a picture has twice.

    `words` are the `main_texts` of each; a text that is no more than a part of two of one picture (a title beside several
    captions) is not there twice.
    """
    across: list[str] = []
    within: list[str] = []
    parted = any(len(own) > 1 for own in words)
    for text, group in positions((text, j) for j, own in enumerate(words) for text in own).items():
        holders = {int(collection.picture_of[j]): j for j in reversed(group)}
        if len(holders) > 1:
            shown = _name_group(collection, text, sorted(holders.values()) if parted else group, split_of)
            (across if len({split_of[i] for i in holders} - {""}) > 1 else within).append(shown)
    wholes = positions((own, j) for j, own in enumerate(words) if own).items()
    twice = [
        _name_group(collection, " ".join(own), group, split_of)
        for own, group in wholes
        if len(group) > 1 and len({int(collection.picture_of[j]) for j in group}) == 1
    ]
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


def positions(keyed: Iterable[tuple[Key, int]]) -> dict[Key, tuple[int, ...]]:
    """Positions of each key, in the order in which they come."""
    places: defaultdict[Key, list[int]] = defaultdict(list)
    for key, i in keyed:
        places[key].append(i)
    return {key: tuple(own) for key, own in places.items()}


def _name_group(collection: Collection, text: str, group: Sequence[int], split_of: Sequence[str]) -> str:
    pictures = [int(collection.picture_of[j]) for j in group]
    return f"{text[:80]!r}: {_list_pictures([collection.text_ids[j] for j in group], pictures, split_of)}"


def _list_pictures(names: Sequence[str], pictures: Sequence[int], split_of: Sequence[str], most: int = 6) -> str:
    shown = [f"{name} ({split_of[i] or 'no split'})" for name, i in zip(names, pictures, strict=True)]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
