"""Pictures and texts a second, file names to features, of each backbone that runs without a hub: `python bench/backbones.py`.

Writes bench/results/backbones.json and backbones.md. open_clip models have random weights: the cost is the same. Each is timed
`--rounds` times over all, the backbones taking turns, after a batch to warm up; medians are shown. Each round has a store of its
own, so everything is encoded anew.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from encode_contenders import HERE, material
from kept import Row, merge_results
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
COLUMNS = tuple((what, kind) for what in ("pictures", "texts") for kind in PRECISIONS)


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
    where = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    fresh: dict[str, Row] = {}
    for name in built:
        row: dict[str, object] = {"rounds": given.rounds, "machine": where}
        for precision in PRECISIONS:
            for side, what in enumerate(("pictures", "texts")):
                row[f"{what} {precision}"] = statistics.median(one[side] for one in found[name, precision])
        fresh[name] = row
    write_page(merge_results("backbones", fresh))


def write_page(found: Mapping[str, Row]) -> None:
    """The page, from all that has been measured."""
    lines = [
        f"| backbone | {' | '.join(f'{what}/s {kind}' for what, kind in COLUMNS)} | rounds, machine |",
        "|---" * 6 + "|",
    ]
    for name, row in found.items():
        cells = [f"{float(str(row[f'{what} {kind}'])):.3g}" for what, kind in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['rounds']}; {row['machine']} |")
    text = "\n".join(lines)
    about = (
        "Medians; Flickr8k pictures and captions; file names to features, decoding, resizing and tokenising included."
    )
    (HERE / "results" / "backbones.md").write_text(
        f"# Pictures and texts a second\n\n`python bench/backbones.py`. {about}\n\n{text}\n"
    )
    print(text)


if __name__ == "__main__":
    main()
