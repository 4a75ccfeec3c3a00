"""Pictures per second of one core's work, of backbones whose COCO numbers are published: `python bench/pareto.py [NAME ...]`.

Processor time, not the clock's, of a process with one thread, so that other work beside it does not decide the order: decoding,
resizing by the model's own transform and the picture tower in fp32, a batch of four at a time after one that is not counted.
open_clip's models have random weights: the cost is the same. What was found is kept in bench/results/pareto.json, which
`scripts/pareto_page.py` draws.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from omegaconf import OmegaConf

from kept import machine, merge_results
from picdesk.data.images import open_picture
from recipes import DATA_ROOT, PROJECT

OPTIONS = (
    *("vit_b_32_laion2b", "vit_b_16_openai", "siglip_b_16_224", "siglip2_b_16_224"),
    *("pe_core_t_16_384", "pe_core_s_16_384", "pe_core_b_16", "vit_l_14_laion2b"),
)
BATCH, BATCHES = 4, 2


def photographs() -> list[bytes]:
    """The first pictures of Flickr8k."""
    files = sorted((DATA_ROOT / "flickr8k" / "Images").glob("*.jpg"))[: BATCH * (BATCHES + 1)]
    if not files:
        raise SystemExit(f"{DATA_ROOT}: no photographs there (set PICDESK_DATA_ROOT)")
    return [path.read_bytes() for path in files]


def model_of(option: str) -> str:
    return str(OmegaConf.load(Path(PROJECT) / "conf" / "backbone" / f"{option}.yaml").model)


def seconds(model: Any, transform: Any, pictures: list[bytes]) -> float:
    """Processor seconds of these pictures, from encoded bytes to embeddings."""
    start = time.process_time()
    pixels = torch.stack([transform(open_picture(data)) for data in pictures])
    with torch.inference_mode():
        model.encode_image(pixels)
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    every = photographs()
    for option in sys.argv[1:] or OPTIONS:
        model, _, transform = open_clip.create_model_and_transforms(model_of(option), pretrained=None)
        model.eval()
        parts = [every[start : start + BATCH] for start in range(0, len(every), BATCH)]
        taken = [seconds(model, transform, part) for part in parts][1:]
        rate = BATCH / float(np.median(taken))
        merge_results("pareto", {option: {"pictures_per_core_second": round(rate, 3), "machine": machine()}})
        print(option, f"{rate:.2f}", flush=True)


if __name__ == "__main__":
    main()
