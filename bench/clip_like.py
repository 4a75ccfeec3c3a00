"""Any number of vectors that lie as CLIP's do: real CLIP ViT-B/32 image vectors, mixed in pairs, with noise.

A vector is `normalise(w * a + (1 - w) * b) + noise`, normalised again: a and b two of the 2,428 real vectors, w even in [0, 1],
the noise normal, of mean length NOISE, with the covariance of the real vectors. (Noise that is even in all directions would fill
dimensions that CLIP hardly uses: the spectrum of the covariance has an effective rank of 141 for the real vectors, 143 for those
made here, and 237 with even noise, which nothing that compresses could do anything about.) Block i of a seed is always the same,
so nothing has to be kept on disk.
"""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from picdesk.interfaces import Embeddings

NOISE = 0.35
BLOCK = 50_000
PROJECT = Path(__file__).resolve().parents[1]


@functools.cache
def real_vectors() -> np.ndarray:
    """The real vectors [2428, 512], or an error that says where they are looked for."""
    root = Path(os.environ.get("PICDESK_DATA_ROOT", PROJECT.parent / "shared" / "data"))
    path = root / "clip_vit_b32_openai_flickr8k.npz"
    if not path.is_file():
        raise SystemExit(f"{path}: no real CLIP vectors there (set PICDESK_DATA_ROOT)")
    with np.load(path, allow_pickle=False) as stored:
        return np.ascontiguousarray(stored["embedding"], np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@functools.cache
def shaping() -> np.ndarray:
    """The matrix [512, 512] that turns even noise into noise of mean squared length 1 with the real vectors' covariance."""
    real = real_vectors()
    _, spread, axes = np.linalg.svd(real - real.mean(axis=0), full_matrices=False)
    return np.ascontiguousarray(spread[:, None] * axes / np.linalg.norm(spread), np.float32)


def vectors(count: int, seed: int, block: int = 0) -> np.ndarray:
    """Block `block` of a seed: [count, 512] float32 of length 1."""
    rng = np.random.default_rng([seed, block])
    real = real_vectors()
    pairs = real[rng.integers(0, len(real), (count, 2))]
    share = rng.random((count, 1), np.float32)
    rows = _unit(share * pairs[:, 0] + (1 - share) * pairs[:, 1])
    rows += NOISE * (rng.standard_normal(rows.shape, np.float32) @ shaping())
    return np.ascontiguousarray(_unit(rows), np.float32)


def blocks(count: int, seed: int) -> Iterator[Embeddings]:
    """`count` vectors with ids `i0`, `i1`, ... in shards of BLOCK."""
    for number, start in enumerate(range(0, count, BLOCK)):
        size = min(BLOCK, count - start)
        ids = tuple(f"i{i}" for i in range(start, start + size))
        yield Embeddings(ids, vectors(size, seed, number))


def gallery(count: int, seed: int) -> Embeddings:
    """All of it at once."""
    parts = list(blocks(count, seed))
    return Embeddings(tuple(i for part in parts for i in part.ids), np.concatenate([part.matrix for part in parts]))


def queries(count: int, seed: int) -> Embeddings:
    """Vectors of the same making that are not in any gallery."""
    return Embeddings(tuple(f"q{i}" for i in range(count)), vectors(count, seed + 1_000_000))
