"""Drawn pictures, texts and vectors for bench/gpu.py: no data set is needed."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from picdesk.interfaces import Embeddings
from picdesk.retrieval.measuring import unit

WORDS = (
    "dog",
    "man",
    "woman",
    "red",
    "ball",
    "beach",
    "runs",
    "on",
    "the",
    "two",
    "children",
    "water",
    "street",
    "plays",
)


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """JPEGs of 500 x 375 pixels of coloured patches: about as large, and as long to decode, as photographs of that size."""
    colours = np.random.default_rng(0).integers(0, 256, (count, 24, 32, 3), dtype=np.uint8)
    paths = [folder / f"{i:06}.jpg" for i in range(count)]

    def draw(patches: np.ndarray, path: Path) -> None:
        Image.fromarray(patches).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(draw, colours, paths))
    return paths


def draw_texts(count: int) -> list[str]:
    """Distinct texts of 8 to 14 words."""
    rng = np.random.default_rng(0)
    return [f"{' '.join(rng.choice(WORDS, rng.integers(7, 14)))} {i}" for i in range(count)]


def draw_pairs(pictures: int, captions: int, dim: int = 512) -> tuple[Embeddings, Embeddings, np.ndarray]:
    """Texts and pictures as vectors of length 1, and the picture of each text, which is often among the nearest to it."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((pictures, dim), np.float32)
    picture_of = np.repeat(np.arange(pictures), captions)
    text = image[picture_of] + 4 * rng.standard_normal((len(picture_of), dim), np.float32)
    ids = tuple(f"t{i:07}" for i in range(len(text))), tuple(f"p{i:07}" for i in range(pictures))
    return Embeddings(ids[0], unit(text)), Embeddings(ids[1], unit(image)), picture_of
