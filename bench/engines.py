"""What a picture and a text cost on a CPU by each way to compute them: `python bench/engines.py`.

Writes bench/results/engines.json and engines.md. A cell is a backbone, a modality, an engine with its precision, and what
oneDNN and OpenVINO may use of the processor (`ONEDNN_MAX_CPU_ISA`); each runs in a process of its own, one after the other,
and is written down when it ends, so that the bench goes on where it stopped (`--again` measures anew; `--cells WORDS` takes
those whose name has all the words). Inputs lie in memory, decoded and tokenised: the trunk alone is timed, by the clock and
by the processor seconds of the process, `--rounds` times over the same items after once to warm up; medians. What comes
once (converting) is a column of its own. Weights of CLIP models are random: the cost is the same. Each cell is compared
with torch in float32 by the least cosine of its features.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kept import RESULTS, Row, merge_results

HERE = Path(__file__).resolve().parent
ITEMS = {"image": 64, "text": 256}
FEWER = {"MobileCLIP-S1": {"image": 16, "text": 256}}  # a picture takes a third of a second
BATCH = 32
BACKBONES = ("lite", "lite2", "MiniLM", "ViT-B-32", "MobileCLIP-S1")
WAYS = {  # engine, precision, whether the branches of a tower are fused (and in bf16 its norms folded), whether torch compiles it
    "torch fp32": ("torch", "fp32", True, False),
    "torch fp32, branches as they are": ("torch", "fp32", False, False),
    "torch bf16": ("torch", "bf16", True, False),
    "torch bf16, norms as they are": ("torch", "bf16", False, False),
    "torch fp32, compiled": ("torch", "fp32", True, True),
    "torch bf16, compiled": ("torch", "bf16", True, True),
    "openvino fp32": ("openvino", "fp32", True, False),
    "openvino bf16": ("openvino", "bf16", True, False),
}
LIMITS = {"all of it": "", "no AMX": "AVX512_CORE_BF16", "AVX2": "AVX2"}
"""What oneDNN may use. OpenVINO brings its own copy, which reads the same variable for some kernels and not for others."""
NEEDED = {"all of it": "", "no AMX": "amx_bf16", "AVX2": "avx512f"}
"""What a processor must have for a limit to be one."""
COMPILES_ANEW = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
"""Torch keeps what it has compiled, and the next run would be told that compiling costs nothing."""
TOO_LONG = 600  # seconds of one cell, compiling included
Timed = dict[str, float]
ORDER = [
    f"{backbone}, {items}, {way}, {limit}"
    for backbone, items, way, limit in itertools.product(BACKBONES, ("images", "texts"), WAYS, LIMITS)
]
"""Cells as a page has them."""


@dataclass(frozen=True)
class Cell:
    """One thing to measure."""

    backbone: str
    modality: str
    way: str
    limit: str

    @property
    def name(self) -> str:
        """As it stands in the results."""
        return f"{self.backbone}, {self.modality}s, {self.way}, {self.limit}"


def cells() -> Iterator[Cell]:
    """All that make sense here: MiniLM is a text tower, `lite` and `lite2` have it too; those have norms to fold, and MobileCLIP
    has branches."""
    for backbone in BACKBONES:
        sides = {"MiniLM": ["text"], "lite": ["image"], "lite2": ["image"]}.get(backbone, ["image", "text"])
        for modality in sides:
            for way, (_, precision, fused, compiled) in WAYS.items():
                apart = backbone in (("MobileCLIP-S1",) if precision == "fp32" else ("lite", "lite2"))
                if not fused and not (apart and modality == "image"):
                    continue
                limits = [limit for limit, needed in NEEDED.items() if needed in ("", *units())]
                own = [limit for limit in limits if sensible(precision, limit) and not (compiled and LIMITS[limit])]
                yield from (Cell(backbone, modality, way, limit) for limit in own)


def sensible(precision: str, limit: str) -> bool:
    """bf16 wants units for it, which AVX2 does not have; without AMX, float32 is what it is with it."""
    has_units = bool({"avx512_bf16", "amx_bf16"} & {*units()})
    return (has_units and limit != "AVX2") if precision == "bf16" else limit != "no AMX"


def items_of(backbone: str) -> dict[str, int]:
    """How many pictures and texts are timed."""
    return FEWER.get(backbone, ITEMS)


def units() -> list[str]:
    """What this processor has for neural networks, as Linux names it."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return []
    return [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if name in flags]


def processor() -> str:
    """The processor by the name that Linux gives, with its units and the cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name} ({', '.join(units())}), {os.cpu_count()} cores"


# The child: one cell.


def backbone_of(name: str) -> object:
    from picdesk.backbones.lite import Lite
    from picdesk.backbones.open_clip import OpenClip

    if name in ("lite", "MiniLM"):
        return Lite()
    return Lite(image_trunk="efficientnet_lite2") if name == "lite2" else OpenClip(name)


def batches_of(backbone: object, modality: str, items: Mapping[str, int]) -> list[dict[str, object]]:
    """Inputs of the trunk in batches: pictures decoded and normalised by the encoder's own `Forward`, texts by length."""
    from encode_contenders import material
    from picdesk.data.images import open_picture
    from picdesk.embedding.batches import TextBatches, cut_rows

    paths, captions = material(items["image"], items["text"])
    if modality == "text":
        texts = TextBatches(backbone, captions, list(range(len(captions))))  # type: ignore[arg-type]
        return [inputs for _, inputs in texts(iter(cut_rows(texts.order, BATCH)))]
    pixels = [backbone.picture_to_pixels(open_picture(path.read_bytes())) for path in paths]  # type: ignore[attr-defined]
    return [backbone.picture_inputs(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH)]  # type: ignore[attr-defined]


def run_cell(cell: Cell, rounds: int) -> Timed:
    import numpy as np
    import torch

    from picdesk.embedding.forward import Forward, prepare_trunk
    from picdesk.embedding.in_place import work_in_place
    from picdesk.embedding.memory import keep_freed_memory

    engine, precision, fused, compiled = WAYS[cell.way]
    items = items_of(cell.backbone)
    keep_freed_memory()
    backbone = backbone_of(cell.backbone)
    trunk, batches = backbone.trunk(cell.modality), batches_of(backbone, cell.modality, items)  # type: ignore[attr-defined]
    folded = fused and cell.modality in backbone.folded_towers  # type: ignore[attr-defined]
    fused = fused and cell.modality in backbone.fused_towers  # type: ignore[attr-defined]

    def forward_of(*how: object, compiles: bool = False) -> Forward:
        folds = folded and how == ("bf16", fused, "torch") and not compiles  # a compiler sees to that itself
        ready, layout = prepare_trunk(trunk, "cpu", *how, folds)  # type: ignore[arg-type]
        dtype = torch.bfloat16 if how[0] == "bf16" and how[2] == "torch" else torch.float32
        made = torch.compile(ready, dynamic=cell.modality == "text") if compiles else ready  # pictures are of one size
        return Forward(made, "cpu", dtype, backbone.normalise_pixels, BATCH, layout)  # type: ignore[arg-type, attr-defined]

    with torch.inference_mode():
        own = np.concatenate([forward_of("fp32", False, "torch")(inputs) for inputs in batches[:1]])
        start = time.perf_counter()
        forward = forward_of(precision, fused, engine, compiles=compiled)
        if not compiled:
            work_in_place(forward.trunk)  # as the encoder has it
        first, *_ = [forward(inputs) for inputs in batches]
        once = time.perf_counter() - start
        seconds, busy = [], []
        for _ in range(rounds):
            start, used = time.perf_counter(), time.process_time()
            for inputs in batches:
                forward(inputs)
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - used)
    own, first = own.astype(np.float64), first.astype(np.float64)
    lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(first, axis=1)
    wall = statistics.median(seconds)
    return {
        "items/s": items[cell.modality] / wall,
        "cpu ms": 1000 * statistics.median(busy) / items[cell.modality],
        "once s": max(once - wall, 0.0),
        "cosine": float(((own * first).sum(1) / lengths).min()),
        "threads": torch.get_num_threads(),
    }


# The parent: all cells, one after the other.


def measure(cell: Cell, rounds: int) -> Row:
    """One cell in a process of its own; why there is no number, where there is none."""
    limit = {"ONEDNN_MAX_CPU_ISA": LIMITS[cell.limit]} if LIMITS[cell.limit] else {}
    words = [cell.backbone, cell.modality, cell.way, cell.limit]
    command = [sys.executable, __file__, "--child", json.dumps(words), "--rounds", str(rounds)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **COMPILES_ANEW, **limit},
            capture_output=True,
            text=True,
            timeout=TOO_LONG,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"none": f"more than {TOO_LONG} s"}
    if done.returncode:
        return {"none": (done.stderr.strip().splitlines() or ["ended"])[-1][-160:]}
    found: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", nargs="*", default=[], metavar="WORDS")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--child", default="")
    given = parser.parse_args()
    if given.child:
        print(json.dumps(run_cell(Cell(*json.loads(given.child)), given.rounds)))
        return
    found = merge_results("engines", {})
    for cell in cells():
        key = f"{cell.name}, {processor()}"
        if all(word in cell.name for word in given.cells) and (given.again or key not in found):
            about = {"cell": cell.name, "rounds": given.rounds, "processor": processor(), **versions()}
            found = merge_results("engines", {key: {**measure(cell, given.rounds), **about}})
            print(line(found[key]), flush=True)
    write_page(found)


def versions() -> dict[str, str]:
    """Releases of the engines."""
    from importlib import metadata, util

    names = [name for name in ("torch", "openvino") if util.find_spec(name)]
    return {"engines": ", ".join(f"{name} {metadata.version(name)}" for name in names)}


def line(row: Row) -> str:
    """A row of the table."""
    name = row["cell"]
    if "none" in row:
        return f"| {name} | none: {row['none']} | | | |"
    number: Callable[[str], float] = lambda key: float(str(row[key]))  # noqa: E731
    once = f"{number('once s'):.1f}"
    return f"| {name} | {number('items/s'):.3g} | {number('cpu ms'):.3g} | {once} | {number('cosine'):.7f} |"


def write_page(found: Mapping[str, Row]) -> None:
    """The page, from all that has been measured."""
    heads = "| backbone, items, engine, processor's units | items/s | processor ms an item | once, s | least cosine |"
    places = {name: place for place, name in enumerate(ORDER)}
    rows = sorted(found.values(), key=lambda row: places.get(str(row["cell"]), len(places)))
    text = ""
    for on in sorted({str(row["processor"]) for row in rows}):
        own = [row for row in rows if row["processor"] == on]
        engines = {name for row in own for name in str(row["engines"]).split(", ")}
        rounds = {f"{row['rounds']} rounds" for row in own}
        with_what = f"{', '.join(sorted(engines, reverse=True))}; {', '.join(sorted(rounds))}"
        lines = [f"## {on}", "", f"{with_what}.", "", heads, "|---" * 5 + "|", *map(line, own), ""]
        text += "\n".join(lines) + "\n"
    about = (
        f"{ITEMS['image']} pictures (16 for MobileCLIP), {ITEMS['text']} captions of Flickr8k, batches of {BATCH}; the "
        "trunk alone, medians; what torch compiles is measured with all that the processor has. Least "
        "cosine: to torch in float32 with branches and norms as they are, of the first batch."
    )
    (RESULTS / "engines.md").write_text(
        f"# Engines and precisions on CPUs\n\n`python bench/engines.py`. {about}\n\n{text.rstrip()}\n"
    )
    print(text)


if __name__ == "__main__":
    main()
