"""JPEG to RGB pixels: milliseconds a picture by each decoder, and whether the pixels are Pillow's: `python bench/decode.py`.

Writes bench/results/decode.json and decode.md. Bytes in memory to uint8 [height, width, 3], in one thread; the decoders take
turns, `--rounds` times over all pictures, and the median over rounds of the mean over pictures is shown. A decoder that is not
installed has no row of this run; rows of earlier runs stay. `open_picture` is what the package does: head and checks by Pillow,
pixels by simplejpeg where the JPEG is ordinary, turned upright by EXIF. Only what gives the same pixels of every picture can take
Pillow's place without features changing.
"""

import argparse
import importlib.util
import io
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
import torch
from PIL import Image, features

from encode_contenders import HERE
from kept import Row, merge_results
from picdesk.data.images import open_picture

Decoder = Callable[[bytes], np.ndarray]
SHORTEST = 256  # to which side the draft is taken: what the preprocessing of `lite` can use
LARGE = 1024  # pixels: what photographs look like in the wild
SETS = {"flickr8k": "flickr8k/Images", "newsimages": "newsimages/newsimages"}
ENLARGED = f"flickr8k at {LARGE} pixels"


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def by_draft(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SHORTEST, SHORTEST))
    return np.asarray(image.convert("RGB"))


def by_torchvision(data: bytes) -> np.ndarray:
    from torchvision.io import ImageReadMode, decode_jpeg

    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decode_jpeg(encoded, mode=ImageReadMode.RGB).numpy().transpose(1, 2, 0)


def by_simplejpeg(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, "RGB")


DECODERS: dict[str, tuple[str, Decoder]] = {
    "Pillow": ("PIL", by_pillow),
    "open_picture": ("PIL", lambda data: np.asarray(open_picture(data))),
    f"Pillow, draft to {SHORTEST}": ("PIL", by_draft),
    "torchvision.io": ("torchvision", by_torchvision),
    "simplejpeg": ("simplejpeg", by_simplejpeg),
}


def installed() -> dict[str, Decoder]:
    return {name: one for name, (module, one) in DECODERS.items() if importlib.util.find_spec(module) is not None}


def jpegs(folder: Path, count: int) -> list[bytes]:
    """The first JPEGs of a folder, by name; what lies there in another format under that name is passed over."""
    every = (path.read_bytes() for path in sorted(folder.glob("*.jp*g")))
    return [
        data for _, data in zip(range(count), (data for data in every if data[:3] == b"\xff\xd8\xff"), strict=False)
    ]


def larger(data: bytes) -> bytes:
    """The picture at `LARGE` pixels, as a JPEG of quality 90."""
    stream = io.BytesIO()
    big = open_picture(data).resize((LARGE, LARGE), Image.Resampling.BICUBIC)
    big.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def seconds_of(one: Decoder, pictures: list[bytes]) -> float:
    start = time.process_time()
    for data in pictures:
        one(data)
    return (time.process_time() - start) / len(pictures)


def likeness(one: Decoder, pictures: list[bytes]) -> dict[str, object]:
    """Of how many pictures the pixels are Pillow's to the bit, how far the others are, and which cannot be read."""
    same, refused, furthest = 0, 0, 0
    for data in pictures:
        try:
            pixels, own = one(data), by_pillow(data)
        except Exception:  # each library has errors of its own
            refused += 1
            continue
        if pixels.shape == own.shape:
            furthest = max(furthest, int(np.abs(pixels.astype(int) - own).max()))
            same += int(np.array_equal(pixels, own))
    return {"same": same, "refused": refused, "furthest": furthest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(os.environ.get("PICDESK_DATA_ROOT", HERE.parent.parent / "shared" / "data"))
    fresh: dict[str, Row] = {}
    sets = {kind: jpegs(root / folder, given.pictures) for kind, folder in SETS.items()}
    sets[ENLARGED] = [larger(data) for data in sets["flickr8k"]]
    for kind, pictures in sets.items():
        like = {name: likeness(one, pictures) for name, one in installed().items()}
        whole = [data for data in pictures if all(can_read(one, data) for one in installed().values())]
        taken: dict[str, list[float]] = {}
        for _ in range(given.rounds):
            for name, one in installed().items():
                taken.setdefault(name, []).append(seconds_of(one, whole))
        for name, seconds in taken.items():
            times = {"ms": 1000 * statistics.median(seconds), "least": 1000 * min(seconds), "most": 1000 * max(seconds)}
            about = {
                "pictures": len(pictures),
                "rounds": given.rounds,
                "size": middle_size(whole),
                "machine": machine(),
            }
            fresh[f"{kind}: {name}"] = {**times, **like[name], **about}
    fresh["import of torchvision.io"] = {"seconds": import_seconds("torchvision.io", "torch")}
    write_page(merge_results("decode", fresh))


def import_seconds(name: str, before: str) -> float:
    """What importing a module costs a process that has imported `before`; the median of three."""
    code = f"import time, {before}; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(run.stdout) for run in runs)


def can_read(one: Decoder, data: bytes) -> bool:
    try:
        one(data)
    except Exception:  # each library has errors of its own
        return False
    return True


def middle_size(pictures: list[bytes]) -> str:
    """Median width and height."""
    sizes = [Image.open(io.BytesIO(data)).size for data in pictures]
    width, height = (statistics.median(side) for side in zip(*sizes, strict=True))
    return f"{width:.0f}x{height:.0f}"


def machine() -> str:
    """What the timing and the pixels depend on."""
    turbo = features.version("libjpeg_turbo")
    own = f"Pillow {PIL.__version__} with libjpeg-turbo {turbo}, simplejpeg {metadata.version('simplejpeg')}"
    return f"{platform.machine()}, {own}, torch {torch.__version__}"


def write_page(found: Mapping[str, Row]) -> None:
    """The page, from all that has been measured."""
    lines = [
        "| pictures, decoder | ms a picture | of rounds | pixels as Pillow's | furthest value | refused |",
        "|---" * 6 + "|",
    ]
    timed = {name: row for name, row in found.items() if "ms" in row}
    for name, row in timed.items():
        spread = f"{float(str(row['least'])):.2f} to {float(str(row['most'])):.2f}"
        same = f"{row['same']} of {row['pictures']}"
        lines.append(
            f"| {name} | {float(str(row['ms'])):.2f} | {spread} | {same} | {row['furthest']} | {row['refused']} |"
        )
    on = sorted({f"{name.split(':')[0]}: {row['size']} in the middle; {row['machine']}" for name, row in timed.items()})
    extra = "".join(
        f"\n{name}: {float(str(row['seconds'])):.1f} s.\n" for name, row in found.items() if "seconds" in row
    )
    text = "\n".join(lines)
    about = "Processor time of one thread, from bytes in memory to uint8 [height, width, 3]; values are 0 to 255."
    (HERE / "results" / "decode.md").write_text(
        f"# Decoding JPEGs\n\n`python bench/decode.py`. {about} {'; '.join(on)}.\n\n{text}\n{extra}"
    )
    print(text)


if __name__ == "__main__":
    main()
