"""What bf16 and JPEG draft decoding change, in cosine and in hits@k, on real photographs and captions.

    python bench/drift.py CKPT [PICTURES]        (CKPT: the output dir of train.py experiment=flickr8k_lite; default 1000)

The first pictures of Flickr8k's official dev list with all their captions, encoded by the backbone of CKPT (`lite`, or another
of its kind, which has a page of its own, drift_NAME.md) with its trained heads: in float32 with full decoding (the reference),
in bf16, in bf16 with the batches cut otherwise, in bf16 for pictures alone (`encode.precision=auto`), with fast_decode in float32
and in bf16, and by OpenVINO where it is installed. Encoded anew each time, without a store of earlier jobs.

The pictures here are 224 pixels wide, so that draft decoding has hardly anything to do; they are made larger first (LARGE pixels,
JPEG at quality 90), which is what photographs look like in the wild. Differences stand with the interval that comparisons of jobs
have.
"""

import importlib.util
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from picdesk.assembly.checkpoints import find
from picdesk.backbones.lite import Lite
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.precision import MEASURED
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import exact_ranks_both, metrics_of
from picdesk.evaluation.ranks import Ranks
from picdesk.evaluation.significance import compare
from picdesk.evaluation.statistics import intervals
from picdesk.interfaces import Embeddings
from picdesk.readers.flickr8k import Flickr8k
from picdesk.training.checkpoint import Checkpoint, load

RESULTS = Path(__file__).resolve().parent / "results"
LARGE = 1024
KS = (1, 5, 10)
BATCH, OTHERWISE = 32, 7  # items at a time; the second fits into no power of two
PLAIN, BF16, CUT = "float32, full decoding", "bf16", f"bf16, batches of {OTHERWISE}"
WAYS: dict[str, dict[str, object]] = {
    PLAIN: {},
    BF16: {"precision": "bf16"},
    CUT: {"precision": "bf16", "batch_size": OTHERWISE},
    "bf16 pictures, float32 texts": {"precision": MEASURED},
    "fast_decode": {"fast_decode": True},
    "bf16 and fast_decode": {"precision": "bf16", "fast_decode": True},
}
if importlib.util.find_spec("openvino"):
    WAYS |= {f"openvino {kind}": {"engine": "openvino", "precision": kind} for kind in ("fp32", "bf16")}


Pair = tuple[np.ndarray, np.ndarray]  # of pictures and of texts


@dataclass(frozen=True)
class Enlarged:
    """Pictures made `LARGE` pixels wide and high, as JPEG; each is made once."""

    files: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, i: int) -> bytes:
        """The enlarged picture; the same bytes each time."""
        return self.files[i]


@dataclass(frozen=True)
class Way:
    """What one way of encoding gave."""

    made: Pair
    ranks: tuple[Ranks, Ranks]  # t2i and i2t

    def cosines(self, other: "Way") -> list[np.ndarray]:
        """Of each picture, and of each text."""
        return [np.einsum("ij,ij->i", a, b) for a, b in zip(self.made, other.made, strict=True)]

    def apart(self, other: "Way") -> list[str]:
        """hits@k of both directions, each with the 95% interval of its difference to the other's."""
        cells = []
        for own, others in zip(self.ranks, other.ranks, strict=True):
            values, differences = metrics_of(own), compare(own, others, KS, names=("hits",))
            spans = {k: differences[f"hits@{k}"].interval for k in KS}
            cells += [f"{values[f'hits@{k}']:.4f} ({one.low:+.4f} to {one.high:+.4f})" for k, one in spans.items()]
        return cells


def enlarge(data: bytes) -> bytes:
    stream = io.BytesIO()
    big = open_picture(data).resize((LARGE, LARGE), Image.Resampling.BICUBIC)
    big.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def embeddings(backbone: Lite, pictures: Enlarged, texts: list[str], way: dict[str, object]) -> Pair:
    """Pictures and texts in the shared space, encoded from scratch."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(Store(Path(folder)), **{"batch_size": BATCH, **way})  # type: ignore[arg-type]
        features = encoder.pictures(backbone, pictures, open_picture), encoder.texts(backbone, texts)
    with torch.inference_mode():
        return tuple(  # type: ignore[return-value]
            backbone.embed(modality, torch.from_numpy(one)).float().numpy()  # type: ignore[arg-type]
            for modality, one in zip(("image", "text"), features, strict=True)
        )


def backbone_of(checkpoint: Checkpoint) -> tuple[str, Lite]:
    """The backbone that a checkpoint is of, with its weights, and its name in the config."""
    cfg = OmegaConf.load(checkpoint.config_path)
    settings = OmegaConf.to_container(cfg.backbone, resolve=True)
    assert isinstance(settings, dict)
    backbone = Lite(**{str(key): value for key, value in settings.items() if key != "_target_"})
    load(checkpoint, backbone)
    return str(cfg.choices.backbone), backbone.eval()


def main() -> None:
    checkpoint = find(sys.argv[1], Path())
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    root = Path(os.environ.get("PICDESK_DATA_ROOT", Path(__file__).resolve().parents[2] / "shared" / "data"))
    whole = Flickr8k(str(root / "flickr8k")).read()
    part = whole.take(np.flatnonzero(np.array(whole.official) == "val")[:count])
    name, backbone = backbone_of(checkpoint)
    texts = [str(fields["caption"]) for fields in part.texts]
    pictures = Enlarged([enlarge(part.pictures.read(i)) for i in range(len(part.pictures))])
    t2i, i2t = part.qrels("t2i"), part.qrels("i2t")
    found: dict[str, Way] = {}
    rows, missing = [], ""
    for how, way in WAYS.items():
        try:
            made = embeddings(backbone, pictures, texts, way)
        except ConfigError as error:  # what this CPU has no units for
            missing += f"\nNot measured: {how} ({error}).\n"
            continue
        sides = Embeddings(part.text_ids, made[1]), Embeddings(part.picture_ids, made[0])
        found[how] = Way(made, exact_ranks_both(*sides, t2i, i2t))
        rows.append(row_of(how, found[how], found[PLAIN]))
        print(rows[-1], flush=True)
    amx = " and AMX" if torch.cpu._is_amx_tile_supported() else ""
    text = f"""# Drift of bf16, of fast decoding and of engines

`python bench/drift.py`: {len(part.picture_ids):,} pictures of Flickr8k's dev list, enlarged to {LARGE} pixels, and their
{len(part.text_ids):,} captions; `{name}` with heads trained on the train list (`experiment=flickr8k_lite`), on a CPU with
{torch.backends.cpu.get_cpu_capability()}{amx}. Cosine is to the embedding of the first row. Behind each hits@k
stands the 95% interval of its difference to the first row (paired bootstrap over pictures); where no query differs,
it is what so many pictures leave open. {reach(found[PLAIN])}

| | picture cosine, mean | least | text cosine, mean | least | t2i hits@1 | @5 | @10 | i2t hits@1 | @5 | @10 |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{of_batches(found[CUT], found[BF16])}
{missing}"""
    page = RESULTS / ("drift.md" if name == "lite" else f"drift_{name}.md")
    page.write_text(text)
    print(f"written: {page}")


def row_of(name: str, way: Way, first: Way) -> str:
    cosines = [f"{value:.5f}" for one in way.cosines(first) for value in (one.mean(), one.min())]
    hits = [f"{metrics_of(one)[f'hits@{k}']:.4f}" for one in way.ranks for k in KS]
    return f"| {name} | {' | '.join([*cosines, *(hits if way is first else way.apart(first))])} |"


def reach(way: Way) -> str:
    """How well so many queries tell hits@1 at all."""
    told = []
    for ranks in way.ranks:
        span = intervals(ranks, (1,))["hits@1"]
        told.append(f"{ranks.direction} {(span.high - span.low) / 2:.4f} at {len(ranks.query_ids):,} queries")
    return f"Half the width of the 95% interval of hits@1 itself, in the first row: {', '.join(told)}."


def of_batches(way: Way, other: Way) -> str:
    """What the same items gave in batches of another size."""
    least = [f"{one.min():.5f}" for one in way.cosines(other)]
    hits = way.apart(other)[:: len(KS)]
    before = [f"{metrics_of(one)['hits@1']:.4f}" for one in other.ranks]
    return (
        f"In bf16 the same pictures and texts in batches of {OTHERWISE} in place of {BATCH}: least cosine between the two "
        f"{least[0]} of a picture, {least[1]} of a text;\nt2i hits@1 {before[0]}, then {hits[0]}; i2t hits@1 {before[1]}, then "
        f"{hits[1]};\nbehind each the interval of the difference between the two."
    )


if __name__ == "__main__":
    main()
