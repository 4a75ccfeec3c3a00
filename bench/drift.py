"""What bf16 and JPEG draft decoding change, in cosine and in hits@k, on real photographs and captions.

    python bench/drift.py CKPT [PICTURES]        (CKPT: the output dir of train.py experiment=flickr8k_lite; default 1000)

The first pictures of Flickr8k's official dev list with all their captions, encoded by the `lite` backbone with the trained
heads of CKPT: in float32 with full decoding (the reference), in bf16, with fast_decode, with both, and by OpenVINO where it is
installed. Encoded anew each time, without a store of earlier jobs. The pictures here are 224 pixels wide, so that draft decoding
has hardly anything to do; they are made larger first (LARGE pixels, JPEG at quality 90), which is what photographs look like in
the wild.
"""

import importlib.util
import io
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from picdesk.assembly.checkpoints import find
from picdesk.backbones.lite import Lite
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.evaluation.metrics import exact_ranks_both, metrics_of
from picdesk.interfaces import Embeddings
from picdesk.readers.flickr8k import Flickr8k
from picdesk.training.checkpoint import load

RESULT = Path(__file__).resolve().parent / "results" / "drift.md"
LARGE = 1024
WAYS: dict[str, dict[str, object]] = {
    "float32, full decoding": {},
    "bf16": {"precision": "bf16"},
    "fast_decode": {"fast_decode": True},
    "bf16 and fast_decode": {"precision": "bf16", "fast_decode": True},
}
if importlib.util.find_spec("openvino"):
    WAYS |= {f"openvino {kind}": {"engine": "openvino", "precision": kind} for kind in ("fp32", "bf16")}


@dataclass(frozen=True)
class Enlarged:
    """Pictures made `LARGE` pixels wide and high, as JPEG."""

    source: object

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def read(self, i: int) -> bytes:
        """The enlarged picture; the same bytes each time."""
        stream = io.BytesIO()
        small = open_picture(self.source.read(i))  # type: ignore[attr-defined]
        small.resize((LARGE, LARGE), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        return stream.getvalue()


def embeddings(backbone: Lite, part: object, texts: list[str], way: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and texts in the shared space, encoded from scratch."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(Store(Path(folder)), **way)  # type: ignore[arg-type]
        features = (
            encoder.pictures(backbone, Enlarged(part.pictures), open_picture),  # type: ignore[attr-defined]
            encoder.texts(backbone, texts),
        )
    with torch.inference_mode():
        return tuple(  # type: ignore[return-value]
            backbone.embed(modality, torch.from_numpy(one)).float().numpy()  # type: ignore[arg-type]
            for modality, one in zip(("image", "text"), features, strict=True)
        )


def main() -> None:
    checkpoint = find(sys.argv[1], Path())
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    root = Path(os.environ.get("PICDESK_DATA_ROOT", Path(__file__).resolve().parents[2] / "shared" / "data"))
    whole = Flickr8k(str(root / "flickr8k")).read()
    part = whole.take(np.flatnonzero(np.array(whole.official) == "val")[:count])
    backbone = Lite(dim=int(checkpoint.config.backbone.get("dim", 512)))
    load(checkpoint, backbone)
    backbone.eval()
    texts = [str(fields["caption"]) for fields in part.texts]
    t2i, i2t = part.qrels("t2i"), part.qrels("i2t")
    rows, reference = [], None
    for name, way in WAYS.items():
        made = embeddings(backbone, part, texts, way)
        reference = reference or made
        cosines = [np.einsum("ij,ij->i", a, b) for a, b in zip(made, reference, strict=True)]
        ranks = exact_ranks_both(Embeddings(part.text_ids, made[1]), Embeddings(part.picture_ids, made[0]), t2i, i2t)
        hits = [metrics_of(one)[f"hits@{k}"] for one in ranks for k in (1, 5, 10)]
        told = [f"{value:.5f}" for cosine in cosines for value in (cosine.mean(), cosine.min())]
        rows.append(f"| {name} | {' | '.join(told)} | {' | '.join(f'{value:.4f}' for value in hits)} |")
        print(rows[-1], flush=True)
    text = f"""# Drift of bf16 and of fast decoding

`python bench/drift.py`: {len(part.picture_ids):,} pictures of Flickr8k's dev list, enlarged to {LARGE} pixels, and their
{len(part.text_ids):,} captions; `lite` with heads trained on the train list (`experiment=flickr8k_lite`). Cosine is to the
embedding of the first row.

| | picture cosine, mean | least | text cosine, mean | least | t2i hits@1 | @5 | @10 | i2t hits@1 | @5 | @10 |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""
    RESULT.write_text(text)
    print(f"written: {RESULT}")


if __name__ == "__main__":
    main()
