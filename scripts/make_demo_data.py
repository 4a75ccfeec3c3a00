"""Render the embedded demo set, data/demo.parquet, from Debian's openclipart-svg: python -m scripts.make_demo_data.

Needs the Debian packages openclipart-svg and librsvg2-bin. The order is fixed and nothing is drawn by chance: the same drawings
and the same renderer (librsvg, Pillow, pyarrow, fonts) give the same bytes. What is left out is counted by reason.
"""

import argparse
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageChops
from scripts.demo_text import (
    choose_title,
    clean_author,
    clean_tags,
    folder_tags,
    is_public_domain,
    parse_metadata,
    title_key,
    unfit,
)

from picdesk.files import written_whole

SIDE, MARGIN, QUALITY = 224, 6, 82  # pixels; WebP quality
RENDER_SIDES, SECONDS = (896, 3584), 30  # the second for drawings that fill only a corner of their page
FAINTEST = 4  # a level this near to white counts as page
FLAT_SHARE, FAINT = 0.995, 12  # near-empty: so much of the picture within so many grey levels of its commonest one
SAME_HASH_BITS, SAME_LEVELS = 6, 6.0  # of 144; mean difference of 16 x 16 thumbnails, of 255


@dataclass(frozen=True)
class Drawing:
    """One candidate: what its RDF says, cleaned, and where it lies in the collection."""

    source: str
    title: str
    tags: tuple[str, ...]
    author: str
    licence: str

    @property
    def picture_id(self) -> str:
        """The path in one word: stable for as long as the collection is."""
        return self.source.removesuffix(".svg").replace("/", "-")


def read_drawings(root: Path, left_out: Counter[str]) -> Iterator[Drawing]:
    """Candidates in order of path; links are skipped because what they point at is there itself."""
    for path in sorted(root.rglob("*.svg")):
        source = path.relative_to(root).as_posix()
        if path.is_symlink():
            left_out["symbolic link to a drawing that is there itself"] += 1
            continue
        metadata = parse_metadata(path.read_bytes())
        if not is_public_domain(metadata.licences):
            left_out["licence in the RDF missing or not the public domain"] += 1
            continue
        title, reason = choose_title(source, metadata)
        author = clean_author(metadata.author)
        tags = tuple(clean_tags(metadata.keywords, author) or folder_tags(source))
        if not title or unfit(title, tags):
            left_out[
                reason if not title else "not fit for a demo: body, drug, hate sign, another's character or mark"
            ] += 1
            continue
        yield Drawing(source, title, tags, author, metadata.licences[0])


def render(svg: Path) -> Image.Image | None:
    """The drawing on white, cropped to its content and fitted to the square; None where it cannot be rendered."""
    content = None
    for side in RENDER_SIDES:
        page = rasterise(svg, side)
        if page is None:
            break
        content = crop(page)
        if max(content.size) >= SIDE - 2 * MARGIN:
            break
    return None if content is None else fit_to_square(content)


def rasterise(svg: Path, side: int) -> Image.Image | None:
    """The whole page on white, its longer side so many pixels; None on an error or when it takes too long."""
    size = str(side)
    command = ["rsvg-convert", "--width", size, "--height", size, "--keep-aspect-ratio", "--format", "png", str(svg)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
        drawn = Image.open(io.BytesIO(done.stdout)).convert("RGBA")
    except (subprocess.SubprocessError, OSError):
        return None
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    return page.convert("RGB")


def crop(page: Image.Image) -> Image.Image:
    """Cut away the white around the content."""
    difference = ImageChops.difference(page, Image.new("RGB", page.size, "white"))
    box = difference.point(lambda level: 255 * (level > FAINTEST)).getbbox()
    return page.crop(box) if box else page


def fit_to_square(content: Image.Image) -> Image.Image:
    """Scale down to the square less a margin and centre on white; never enlarge."""
    scale = min(1.0, (SIDE - 2 * MARGIN) / max(content.size))
    size = (max(1, round(content.width * scale)), max(1, round(content.height * scale)))
    small = content.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(small, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return square


def is_near_empty(picture: Image.Image) -> bool:
    """Whether almost all of the picture is of one grey level, in which case there is nothing to be recognised."""
    grey = np.asarray(picture.convert("L")).ravel()
    commonest = int(np.bincount(grey, minlength=256).argmax())
    return bool((np.abs(grey.astype(int) - commonest) <= FAINT).mean() > FLAT_SHARE)


def encode(picture: Image.Image) -> bytes:
    """WebP: without loss where that is smaller (flat drawings), else at `QUALITY`."""
    kinds: list[dict[str, object]] = [{"lossless": True}, {"quality": QUALITY}]
    encoded = []
    for options in kinds:
        stream = io.BytesIO()
        picture.save(stream, "WEBP", method=6, **options)
        encoded.append(stream.getvalue())
    return min(encoded, key=len)


class Look:
    """Finds out whether a picture looks like one that was kept: a perceptual hash of its shape, a thumbnail for its colours."""

    def __init__(self) -> None:
        self.hashes: list[NDArray[np.bool_]] = []
        self.thumbnails: list[NDArray[np.float32]] = []

    def keep_if_new(self, picture: Image.Image) -> bool:
        """Remember the picture and say True, unless one that looks the same was kept before."""
        shape = imagehash.phash(picture, hash_size=12).hash.ravel()
        colours = np.asarray(picture.resize((16, 16), Image.Resampling.BOX), np.float32).ravel()
        if self.hashes:
            near = (np.stack(self.hashes) != shape).sum(axis=1) <= SAME_HASH_BITS
            close = np.abs(np.stack(self.thumbnails) - colours).mean(axis=1) <= SAME_LEVELS
            if (near & close).any():
                return False
        self.hashes.append(shape)
        self.thumbnails.append(colours)
        return True


def choose(
    drawings: list[Drawing], pictures: list[Image.Image | None], left_out: Counter[str]
) -> list[tuple[Drawing, bytes]]:
    """Drop what is empty, has a title that is taken or looks like one that was kept; the best described drawing goes first."""
    order = sorted(range(len(drawings)), key=lambda i: (-len(drawings[i].tags), drawings[i].source))
    titles: set[str] = set()
    look = Look()
    kept = []
    for i in order:
        drawing, picture = drawings[i], pictures[i]
        if picture is None:
            left_out["cannot be rendered"] += 1
        elif is_near_empty(picture):
            left_out["near-empty picture"] += 1
        elif title_key(drawing.title) in titles:
            left_out["title taken, but for case and numbers, by another drawing"] += 1
        elif not look.keep_if_new(picture):
            left_out["looks the same as one that was kept"] += 1
        else:
            titles.add(title_key(drawing.title))
            kept.append((drawing, encode(picture)))
    return sorted(kept, key=lambda pair: pair[0].source)


def write(path: Path, kept: list[tuple[Drawing, bytes]]) -> None:
    """Write the parquet file whole; its metadata says where the pictures come from and under which terms."""
    drawings = [drawing for drawing, _ in kept]
    ids = [drawing.picture_id for drawing in drawings]
    if len(set(ids)) != len(ids):
        raise SystemExit("two paths give one picture_id")
    columns = {
        "picture_id": pa.array(ids, pa.string()),
        "picture": pa.array([picture for _, picture in kept], pa.binary()),
        "title": pa.array([drawing.title for drawing in drawings], pa.string()),
        "tags": pa.array([list(drawing.tags) for drawing in drawings], pa.list_(pa.string())),
        "author": pa.array([drawing.author for drawing in drawings], pa.string()),
        "source": pa.array([drawing.source for drawing in drawings], pa.string()),
        "licence": pa.array([drawing.licence for drawing in drawings], pa.string()),
    }
    notes = {
        "origin": "Open Clip Art Library 0.18, from the Debian package openclipart-svg 1:0.18+dfsg-19",
        "licence": "public domain (Creative Commons Public Domain Dedication), stated in the RDF of every drawing",
        "picture_format": f"WebP, RGB, {SIDE} x {SIDE} pixels, on white",
    }
    table = pa.table(columns).replace_schema_metadata(notes)
    compressed = {name: "none" if name == "picture" else "zstd" for name in columns}
    with written_whole(path) as temporary:
        pq.write_table(
            table, temporary, compression=compressed, use_dictionary=["licence", "author"], row_group_size=512
        )


def main() -> None:
    """Read, render, choose, write, and say what was left out and why."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("/usr/share/openclipart/svg"), help="the drawings' folder")
    parser.add_argument("--output", type=Path, default=Path("data/demo.parquet"), help="the file to write")
    parser.add_argument("--workers", type=int, default=2, help="renderers at work at the same time")
    options = parser.parse_args()
    if not options.source.is_dir():
        sys.exit(f"--source={options.source}: no such folder; the Debian package openclipart-svg makes it")
    left_out: Counter[str] = Counter()
    drawings = list(read_drawings(options.source, left_out))
    with ThreadPoolExecutor(options.workers) as pool:
        pictures = list(pool.map(lambda drawing: render(options.source / drawing.source), drawings))
    kept = choose(drawings, pictures, left_out)
    write(options.output, kept)
    print(f"{options.output}: {len(kept)} drawings, {options.output.stat().st_size / 1e6:.2f} MB")
    for reason, count in left_out.most_common():
        print(f"{count:6d} left out: {reason}")


if __name__ == "__main__":
    main()
