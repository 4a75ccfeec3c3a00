"""What bench/gpu.py measures, a function a part: each gives rows by key, on a CUDA card or, at tiny shapes, on the CPU."""

import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from encode_contenders import Ours, Usual, ceiling
from gpu_doors import open_doors
from gpu_inputs import draw_pairs, draw_pictures, draw_texts
from kept import Row
from picdesk.evaluation.metrics import exact_ranks_both
from picdesk.retrieval.measuring import qrels_of, unit
from train_steps import RIVALS, Setting, inputs, measure, measure_apart, named_towers, peak_memory, wait_for

Rows = dict[str, Row]
BATCHES = (256, 2048, 8192, 32_768)  # of pairs in a step
TINY_MODEL = 32  # towers of ViT-B-32's layout, this wide


@dataclass(frozen=True)
class Place:
    """Where is measured: a card at full shapes, or the CPU at tiny ones."""

    device: str
    tiny: bool = False
    batches: tuple[int, ...] = BATCHES

    def sized(self, full: int, tiny: int) -> int:
        """A shape."""
        return tiny if self.tiny else full

    @property
    def facts(self) -> Row:
        """What every row says of where it was measured."""
        card = "CPU (tiny)" if self.device == "cpu" else torch.cuda.get_device_name(self.device)
        return {"card": card, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}

    def clock(self, work: Callable[[], object], rounds: int = 3) -> dict[str, object]:
        """Seconds of each round after one that warms up, and the most memory in GB that tensors took meanwhile."""
        work()
        wait_for(self.device)
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            work()
            wait_for(self.device)
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "peak": peak_memory(self.device)}


def peak_rates(place: Place) -> dict[str, float]:
    """Operations a second of a large square matrix product of each precision: what shares are shares of."""
    side, found = place.sized(8192, 128), {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.randn(side, side, device=place.device).to(dtype) for _ in range(2))
        seconds = place.clock(lambda a=left, b=right: a @ b, rounds=10)["seconds"]
        found[name] = 2 * side**3 / min(seconds)  # type: ignore[call-overload]
    return found


def row(what: str, who: str, count: int, found: Row, flops: float = 0.0, kind: str = "fp32", note: str = "") -> Row:
    """A row of the table: `count` items a round, `flops` operations an item, to be compared with the peak of `kind`."""
    return {"what": what, "who": who, "count": count, "flops": flops, "kind": kind, "note": note, **found}


def counted(work: Callable[[], object]) -> float:
    """Floating point operations of a piece of work, without attention's fast path, which hides them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return float(counter.get_total_flops())


def encode(place: Place) -> Rows:
    """Files and strings to embeddings: ours, open_clip's loop, and the forward pass alone."""
    model = named_towers(TINY_MODEL) if place.tiny else "ViT-B-32"
    sizes = {"device": place.device, "batch": place.sized(256, 4)}
    cores = 0 if place.tiny else os.cpu_count() or 1
    found: Rows = {}
    with tempfile.TemporaryDirectory() as folder:
        items: dict[str, list[object]] = {
            "pictures": [*draw_pictures(Path(folder), place.sized(4096, 8))],
            "texts": [*draw_texts(place.sized(10_000, 16))],
        }
        for kind in ("fp32", "bf16"):  # one side at a time: the weights of the others would stand in its peak
            ours = Ours(kind, model, workers=max(cores, 1), **sizes)
            flops = {what: counted_of_one(ours, what, items[what][: place.sized(256, 4)]) for what in items}
            found |= encode_ours(place, ours, items, flops)
            del ours
            usual = Usual(model, workers=cores, bf16=kind == "bf16", **sizes)
            for what, given in items.items():
                timed = place.clock(partial(getattr(usual, what), given))
                note = "autocast" if kind == "bf16" else ""
                own = row(what, f"open_clip's loop, {kind}", len(given), timed, flops[what], kind, note)
                found[f"encode {what} open_clip {kind}"] = own
            del usual
    return found


def encode_ours(place: Place, ours: Ours, items: dict[str, list[object]], flops: dict[str, float]) -> Rows:
    """Rows of our loop, and of the forward pass alone on pictures that are there."""
    found, kind = {}, ours.precision
    for what, given in items.items():
        timed = place.clock(partial(on_new_store, getattr(ours, what), given))
        found[f"encode {what} ours {kind}"] = row(what, f"ours, {kind}", len(given), timed, flops[what], kind)
    some = items["pictures"][: place.sized(1024, 4)]
    timed, who = place.clock(ceiling(ours, some)), f"forward pass alone, {kind}"
    found[f"encode pictures alone {kind}"] = row("pictures", who, len(some), timed, flops["pictures"], kind)
    return found


def counted_of_one(ours: Ours, what: str, few: Sequence[object]) -> float:
    """Operations that one of these items takes, of texts at their own lengths."""
    return counted(lambda: on_new_store(getattr(ours, what), few)) / len(few)


def on_new_store(call: Callable[..., object], items: Sequence[object]) -> object:
    """One job of ours that finds nothing in its store."""
    with tempfile.TemporaryDirectory() as store:
        return call(items, Path(store))


def train(place: Place) -> Rows:
    """Steps of ViT-B-32's towers in bf16, in chunks where a batch is larger: ours, and open_clip's loop with its remedies."""
    width, chunk = place.sized(768, TINY_MODEL), place.sized(1024, 2)
    flops = 3 * forward_flops(width)  # a backward pass takes two forward passes; what is made again is not counted
    sides = (*RIVALS, "ours") if importlib.util.find_spec("open_clip_train") else ("ours",)
    found: Rows = {}
    too_large: set[str] = set()
    for batch in (4,) if place.tiny else place.batches:
        setting = Setting(width, bf16=True, device=place.device, chunk=chunk if batch > chunk else 0)
        for who in sides:
            if "--accum-freq" in who and not setting.chunk:
                continue  # one part is the whole batch
            one = measure if place.tiny else measure_apart
            timed = None if who in too_large else one("towers", who, batch, setting)
            if timed is None:  # nor does a larger one
                too_large.add(who)
                timed = {"note": "does not fit"}
            found[f"train {batch} {who}"] = row(f"step of {batch:,} pairs", who, batch, {}, flops, "bf16") | timed
    return found


def forward_flops(width: int) -> float:
    """Operations of the towers for a picture and a text of 14 tokens."""
    from picdesk.backbones.open_clip import OpenClip

    backbone, (pixels, tokens) = OpenClip(named_towers(width), seed=0), inputs(1)
    with torch.no_grad():
        return counted(lambda: (backbone.image_trunk(backbone.normalise_pixels(pixels)), backbone.text_trunk(tokens)))


def score(place: Place) -> Rows:
    """Exact ranks in both directions of 50,000 pictures and 250,000 texts, on the device and in numpy; they must be the same."""
    texts, pictures, picture_of = draw_pairs(place.sized(50_000, 40), 5)
    qrels = qrels_of(picture_of, texts.ids, pictures.ids)
    ranks: dict[str, list[np.ndarray]] = {}

    def rank(device: str) -> None:
        both = exact_ranks_both(texts, pictures, qrels["t2i"], qrels["i2t"], device=device)
        ranks[device] = [one.ranks for one in both]

    cells, what = len(texts.ids) * len(pictures.ids), f"ranks of {len(pictures.ids):,} x {len(texts.ids):,}"
    timed = place.clock(lambda: rank(place.device))
    start = time.perf_counter()
    rank("")
    numpy_seconds = time.perf_counter() - start
    same = all(np.array_equal(a, b) for a, b in zip(ranks[place.device], ranks[""], strict=True))
    if not same:
        raise SystemExit("ranks on the device differ from those in numpy")
    on_device = row(what, "ours, on the device", cells, timed, 2 * texts.dim, note="ranks equal numpy's")
    in_numpy = {"seconds": [numpy_seconds], "peak": 0.0}
    left, right = (torch.from_numpy(side.matrix).to(place.device) for side in (texts, pictures))

    def multiply() -> None:
        for part in left.split(4096):  # and let each product go
            part @ right.T

    plain = place.clock(multiply)
    return {
        "score ours": on_device,
        "score numpy": row(what, f"ours, numpy on {os.cpu_count()} cores", cells, in_numpy),
        "score product": row(what, "the product alone", cells, plain, 2 * texts.dim, note="nothing is counted"),
    }


def index(place: Place) -> Rows:
    """The ten nearest of a million items: torch's exact search in blocks on the device, and faiss's flat index on the CPU."""
    count, asked, dim = place.sized(1_000_000, 500), place.sized(1000, 8), 512
    rng = np.random.default_rng(0)
    items, queries = (unit(rng.standard_normal((size, dim), np.float32)) for size in (count, asked))
    held: dict[str, torch.Tensor] = {}
    flat: dict[str, faiss.Index] = {}

    def build_torch() -> None:
        held["items"] = torch.from_numpy(items).to(place.device)

    def build_faiss() -> None:
        flat["index"] = faiss.IndexFlatIP(dim)
        flat["index"].add(items)

    rows: Rows = {
        "index build torch": row(f"build, {count:,} items", "torch", count, place.clock(build_torch)),
        "index build faiss": row(
            f"build, {count:,} items", "faiss flat, CPU", count, place.clock(build_faiss, 1) | {"peak": 0.0}
        ),
    }
    asking = torch.from_numpy(queries).to(place.device)
    what, per_query = f"search, {count:,} items", 2.0 * count * dim
    timed = place.clock(lambda: nearest(held["items"], asking, 10))
    rows["index search torch"] = row(what, "torch", asked, timed, per_query)
    timed = place.clock(lambda: flat["index"].search(queries, 10), 1) | {"peak": 0.0}
    rows["index search faiss"] = row(what, "faiss flat, CPU", asked, timed)
    mine, theirs = nearest(held["items"], asking, 10)[1].cpu().numpy(), flat["index"].search(queries, 10)[1]
    agreed = float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(mine.tolist(), theirs.tolist(), strict=True)]))
    rows["index search torch"] = {**rows["index search torch"], "note": f"{agreed:.4f} of faiss's ten"}
    return rows


def nearest(items: torch.Tensor, queries: torch.Tensor, k: int, block: int = 1 << 18) -> tuple[torch.Tensor, ...]:
    """Scores and positions [n, k] of the items that are nearest to each query, `block` items at a time."""
    best = torch.full((len(queries), k), -torch.inf, device=queries.device)
    place = torch.full((len(queries), k), -1, device=queries.device)
    for start in range(0, len(items), block):
        scores = queries @ items[start : start + block].T
        found = scores.topk(min(k, scores.shape[1]))
        both = torch.cat([best, found.values], 1).topk(k)
        place = torch.cat([place, found.indices + start], 1).gather(1, both.indices)
        best = both.values
    return best, place


def doors(place: Place) -> Rows:
    """Every door, on the device and on the CPU."""
    return open_doors(place.device, place.tiny)


PARTS: dict[str, Callable[[Place], Rows]] = {
    "encode": encode,
    "train": train,
    "score": score,
    "index": index,
    "doors": doors,
}
