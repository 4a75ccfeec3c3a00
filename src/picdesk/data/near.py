"""Pictures that are the same, or nearly so."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from picdesk.data.facts import THUMB_SIDE, Look

PHASH_BITS = 10
DHASH_BITS = 16
MEAN_STEPS = 15
MOST_STEPS = 56
BLOCK = 4_000_000


def near_pairs(looks: Sequence[Look]) -> NDArray[np.int64]:
    """Pairs (i < j), [pairs, 2], of pictures that look alike: both hashes close, and the thumbnails too.

    The hashes see grey shapes only, so on drawings they take a flag for a flag of other colours; the thumbnail, whose 192
    values may differ by 15 of 255 on average and by 56 at most, keeps such apart. The limits were set by eye on the loosest
    pairs among 9,958 news and Flickr photographs (all were one photograph cut, scaled, pressed or overprinted; of these pairs
    one in fifteen, made brighter or darker, is missed) and 2,690 drawings (all but a few were variants of one drawing).
    """
    phash = np.array([look.phash for look in looks], np.uint64)
    dhash = np.array([look.dhash for look in looks], np.uint64)
    thumbs = (
        np.frombuffer(b"".join(look.thumb for look in looks), np.uint8).reshape(-1, 3 * THUMB_SIDE**2).astype(np.int16)
    )
    rows = max(1, BLOCK // max(1, len(looks)))
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(looks), rows):
        first, second = np.nonzero(np.bitwise_count(phash[start : start + rows, None] ^ phash[start:]) <= PHASH_BITS)
        first, second = first + start, second + start
        near = (first < second) & (np.bitwise_count(dhash[first] ^ dhash[second]) <= DHASH_BITS)
        first, second = first[near], second[near]
        steps = np.abs(thumbs[first] - thumbs[second])
        alike = (steps.mean(axis=1) <= MEAN_STEPS) & (steps.max(axis=1, initial=0) <= MOST_STEPS)
        found.append(np.stack([first[alike], second[alike]], axis=1))
    return np.concatenate(found)
