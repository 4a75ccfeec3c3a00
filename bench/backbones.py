"""Pictures and texts a second, file names to features, of each backbone that runs without a hub: `python bench/backbones.py`.

Writes bench/results/backbones.md. open_clip models have random weights: the cost is the same. Each backbone is timed `--rounds`
times over all, the backbones taking turns, after a batch to warm up; medians are shown. Each round has a store of its own, so
everything is encoded anew.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from encode_contenders import HERE, material
from picdesk.backbones.lite import Lite
from picdesk.backbones.open_clip import OpenClip
from picdesk.backbones.two_tower import TwoTower
from picdesk.data.images import open_picture
from picdesk.data.sources import PictureFiles
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store

MODELS: dict[str, tuple[Callable[[], TwoTower], int]] = {
    "lite": (Lite, 96),
    "lite2": (lambda: Lite(image_trunk="efficientnet_lite2"), 96),
    "mobileclip_s1": (lambda: OpenClip("MobileCLIP-S1"), 32),
    "mobileclip_s2": (lambda: OpenClip("MobileCLIP-S2"), 32),
    "ViT-B-32": (lambda: OpenClip("ViT-B-32"), 96),
    "ViT-B-16": (lambda: OpenClip("ViT-B-16"), 48),
    "ViT-L-14": (lambda: OpenClip("ViT-L-14"), 12),
}
PRECISIONS = ("fp32", "bf16")


def rates(backbone: TwoTower, precision: str, paths: list[Path], captions: list[str]) -> tuple[float, float]:
    """Pictures a second, texts a second."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(Store(Path(folder)), precision=precision)
        start = time.perf_counter()
        encoder.pictures(backbone, PictureFiles(tuple(paths)), open_picture)
        middle = time.perf_counter()
        encoder.texts(backbone, captions)
        return len(paths) / (middle - start), len(captions) / (time.perf_counter() - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    given = parser.parse_args()
    paths, captions = material(96, 384)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    built = {name: MODELS[name][0]().eval() for name in given.models}
    for number in range(given.rounds + 1):
        for name, backbone in built.items():
            count = MODELS[name][1] if number else 8
            for precision in PRECISIONS:
                one = rates(backbone, precision, paths[:count], captions[: 4 * count])
                if number:
                    found.setdefault((name, precision), []).append(one)
    lines = ["| backbone | pictures/s fp32 | pictures/s bf16 | texts/s fp32 | texts/s bf16 |", "|---|---|---|---|---|"]
    for name in built:
        cells = [
            f"{statistics.median(one[side] for one in found[name, precision]):.3g}"
            for side in (0, 1)
            for precision in PRECISIONS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = "\n".join(lines)
    about = (
        f"Medians of {given.rounds} rounds; {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        "Flickr8k pictures and captions; file names to features, decoding, resizing and tokenising included."
    )
    (HERE / "results" / "backbones.md").write_text(
        f"# Pictures and texts a second\n\n`python bench/backbones.py`. {about}\n\n{text}\n"
    )
    print(text)


if __name__ == "__main__":
    main()
