"""Pictures cut to one shape: which parts of a picture have it, and how it looks at a given size."""

from __future__ import annotations

from PIL import Image

Box = tuple[int, int, int, int]
PLACES = 5


def windows(size: tuple[int, int], target: tuple[int, int], places: int = PLACES) -> list[Box]:
    """The largest parts (left, top, right, bottom) of a picture of `size` (width, height) in the shape of `target`.

    They lie along the side that is too long, `places` of them from end to end, the middle one first; one where it fits.
    """
    (width, height), (wide, high) = size, target
    inner = (min(width, round(height * wide / high)), min(height, round(width * high / wide)))
    spare = (width - inner[0], height - inner[1])
    steps = sorted(range(places), key=lambda step: abs(2 * step - (places - 1)))
    found = []
    for step in steps:
        left, top = (round(room * step / max(places - 1, 1)) for room in spare)
        found.append((left, top, left + inner[0], top + inner[1]))
    return list(dict.fromkeys(found))


def cut_part(picture: Image.Image, box: Box, target: tuple[int, int]) -> Image.Image:
    """One part of a picture at the size of `target`."""
    return picture.crop(box).resize(target, Image.Resampling.LANCZOS)
