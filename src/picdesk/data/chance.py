"""Chance that is the same on every machine: what a seed draws, by the SHA-256 of `<seed>:<id>`, whatever order the rows have."""

import hashlib
from collections.abc import Mapping, Sequence

LARGE = 0.1  # of a part: no group that is more of it is drawn into it


def chance_digest(item: str, seed: int) -> bytes:
    """SHA-256 of `<seed>:<id>`: what stands for chance, the same on every platform."""
    return hashlib.sha256(f"{seed}:{item}".encode()).digest()


def random_order(ids: Sequence[str], seed: int) -> list[int]:
    """Positions in the order of `chance_digest`, whatever order the rows have."""
    keys = [chance_digest(item, seed) for item in ids]
    return sorted(range(len(ids)), key=keys.__getitem__)


def place_groups(
    ids: Sequence[str], groups: Sequence[Sequence[int]], sizes: Mapping[str, int], seed: int
) -> dict[str, list[int]]:
    """Groups of positions, the largest first, in parts that are to hold `sizes`.

    A group goes into a part by chance, each as likely as the room that is left there is large; not into one of which it would
    be more than a tenth, unless it is that everywhere: then where most room is.
    """
    parts: dict[str, list[int]] = {name: [] for name in sizes}
    keys = [chance_digest(ids[group[0]], seed) for group in groups]
    for place in sorted(range(len(groups)), key=lambda k: (-len(groups[k]), keys[k])):
        group = groups[place]
        room = {name: sizes[name] - len(parts[name]) for name in sizes}
        fit = [name for name in sizes if len(group) <= min(room[name], LARGE * sizes[name])]
        parts[_by_chance(keys[place], {name: room[name] for name in fit} or _largest(room))] += group
    return parts


def _by_chance(key: bytes, room: Mapping[str, int]) -> str:
    """One of the names, each as likely as its room is large; `key` decides."""
    point = int.from_bytes(key[:8]) % max(1, sum(room.values()))
    for name, width in room.items():
        if point < width:
            return name
        point -= width
    return next(iter(room))


def _largest(room: Mapping[str, int]) -> dict[str, int]:
    name = max(room, key=room.__getitem__)
    return {name: room[name]}
