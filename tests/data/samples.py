"""Small pictures and files for the tests: a plain colour is a picture's content, so that it can be told from any other."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from picdesk.collection import Collection
from picdesk.data.images import open_picture

RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 180, 40), (30, 40, 200), (255, 255, 255)
Colour = tuple[int, int, int]


def colour(number: int) -> Colour:
    """One of 216 colours, far enough apart to outlive JPEG."""
    return 20 + 40 * (number % 6), 20 + 40 * (number // 6 % 6), 20 + 40 * (number // 36 % 6)


def encode_image(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpeg(of: Colour, size: tuple[int, int] = (16, 12)) -> bytes:
    return encode_image(Image.new("RGB", size, of), "JPEG", quality=95)


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def put_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([header, *rows])
    return put(path, stream.getvalue())


def seen_colour(data: bytes) -> Colour:
    """Colour in the middle of the decoded picture."""
    image = open_picture(data)
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return int(red), int(green), int(blue)


def is_near(one: Colour, other: Colour, most: int = 12) -> bool:
    return all(abs(a - b) <= most for a, b in zip(one, other, strict=True))


def check_pictures(collection: Collection, colours: Mapping[str, Colour]) -> None:
    """Each picture of the collection has the content that belongs to its id."""
    assert collection.picture_ids == tuple(colours)
    for i, name in enumerate(collection.picture_ids):
        assert is_near(seen_colour(collection.pictures.read(i)), colours[name]), name


def pairs(collection: Collection) -> dict[str, str]:
    """Picture id of each text id."""
    return {text: collection.picture_ids[i] for text, i in zip(collection.text_ids, collection.picture_of, strict=True)}


def reasons(collection: Collection) -> list[str]:
    return [f"{skipped.item}: {skipped.reason}" for skipped in collection.skipped]
