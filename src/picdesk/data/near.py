"""Pictures that are the same, or nearly so."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from picdesk.data.facts import THUMB_SIDE, Look, take_look

PHASH_BITS = 10
DHASH_BITS = 16
MEAN_STEPS = 15
MOST_STEPS = 56
BLOCK = 4_000_000
# Four bands of 16 bits. Hashes that differ in 10 bits at most differ by no more than this in at least one band: were it more in
# every band, they would differ in 3 + 3 + 3 + 2 = 11.
BANDS = (2, 2, 2, 1)
BAND_BITS = 16
FEW = 2_000
Longs = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def near_pairs(looks: Sequence[Look]) -> Longs:
    """Pairs (i < j), [pairs, 2], in ascending order, of pictures that look alike: both hashes close, and the thumbnails too.

    The hashes see grey shapes only, so on drawings they take a flag for a flag of other colours; the thumbnail, whose 192
    values may differ by 15 of 255 on average and by 56 at most, keeps such apart. The limits were set by eye on the loosest
    pairs among 9,958 news and Flickr photographs (all were one photograph cut, scaled, pressed or overprinted; of these pairs
    one in fifteen, made brighter or darker, is missed) and 2,690 drawings (all but a few were variants of one drawing).
    More than 2,000 are compared by the bands of their hashes (Norouzi, Punjani and Fleet, "Fast search in Hamming space with
    multi-index hashing", 2012), which finds the same pairs without comparing all with all.
    """
    phash = np.array([look.phash for look in looks], np.uint64)
    dhash = np.array([look.dhash for look in looks], np.uint64)
    thumbs = np.frombuffer(b"".join(look.thumb for look in looks), np.uint8).reshape(-1, 3 * THUMB_SIDE**2)
    found = [np.empty((0, 2), np.int64)]
    for first, second in _all_with_all(len(looks)) if len(looks) <= FEW else _by_bands(phash):
        close = np.bitwise_count(phash[first] ^ phash[second]) <= PHASH_BITS
        first, second = first[close], second[close]
        close = np.bitwise_count(dhash[first] ^ dhash[second]) <= DHASH_BITS
        first, second = first[close], second[close]
        steps = np.abs(thumbs[first].astype(np.int16) - thumbs[second])
        alike = (steps.mean(axis=1) <= MEAN_STEPS) & (steps.max(axis=1, initial=0) <= MOST_STEPS)
        found.append(np.stack([first[alike], second[alike]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def alike(pictures: Sequence[Image.Image]) -> list[tuple[int, int]]:
    """Pairs (i < j) of RGB pictures that look alike."""
    return [(int(i), int(j)) for i, j in near_pairs([take_look(picture) for picture in pictures])]


def _all_with_all(count: int) -> Iterator[tuple[Longs, Longs]]:
    rows = max(1, BLOCK // max(1, count))
    for start in range(0, count, rows):
        first, second = np.nonzero(np.arange(count) > np.arange(start, min(start + rows, count))[:, None])
        yield first + start, second


def _by_bands(hashes: Hashes) -> Iterator[tuple[Longs, Longs]]:
    """Pairs (i < j) of positions that are close in at least one band, in blocks; a pair may come more than once."""
    for band, reach in enumerate(BANDS):
        values = (hashes >> np.uint64(BAND_BITS * band) & np.uint64(2**BAND_BITS - 1)).astype(np.int64)
        order = np.argsort(values, kind="stable")
        counts = np.bincount(values, minlength=2**BAND_BITS)
        starts = np.concatenate([[0], np.cumsum(counts)])
        for flips in range(reach + 1):
            for bits in combinations(range(BAND_BITS), flips):
                mask = sum(1 << bit for bit in bits)
                # With the highest flipped bit unset on one side, each pair is met once.
                own = np.flatnonzero(values < (values ^ mask)) if mask else order
                yield from _pair_up(own, values[own] ^ mask, order, starts, within=not mask)


def _pair_up(own: Longs, wanted: Longs, order: Longs, starts: Longs, within: bool) -> Iterator[tuple[Longs, Longs]]:
    """Each of `own` with everything that has the `wanted` value; `within` one value only with what follows in `order`."""
    low = np.arange(1, len(own) + 1) if within else starts[wanted]
    sizes = np.maximum(starts[wanted + 1] - low, 0)
    ends = np.cumsum(sizes)
    begun = 0
    while begun < len(own):
        done = int(ends[begun - 1]) if begun else 0
        stop = max(begun + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        part, many = slice(begun, stop), sizes[begun:stop]
        first = np.repeat(own[part], many)
        step = np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
        second = order[np.repeat(low[part], many) + step]
        if len(first):
            yield np.minimum(first, second), np.maximum(first, second)
        begun = stop
