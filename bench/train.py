"""Steps per second and peak memory of training, beside open_clip's own loop; writes bench/results/train.md.

    python bench/train.py                                   # towers at an eighth of ViT-B-32's width: minutes on two cores
    python bench/train.py --only towers --width 768 --memory 20 --batches 256             # ViT-B-32 itself: hours
    python bench/train.py --only towers --width 768 --memory 20 --batches 256 --bf16      # bf16 autocast, both sides

Random weights, random pixels and tokens: the cost is the same. Each measurement is a process of its own with a bound on its
memory (`--memory`, GB), so that what does not fit is told and hurts nobody. The first WARM steps are not counted; the table shows
the median of the next STEPS and, behind it, the slowest and the quickest of them.

Towers: the rival is `open_clip_train.train.train_one_epoch` with open_clip's model and ClipLoss, as it comes and with its own
remedies for memory: `--grad-checkpointing`, and `--accum-freq` so that CHUNK pairs are in memory at a time (which embeds every
pair twice, as ours does), and both. Ours goes in chunks of CHUNK, with logits in blocks of BLOCK. open_clip's text tower runs
over its 77 positions; ours cuts a batch at its longest text, which here has 14 tokens.
`heads`: linear heads on cached features of 1,280 and 384 dimensions, both with AdamW, on the same inputs, beside ClipLoss.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from kept import Row, merge_results

HERE = Path(__file__).resolve().parent
CHUNK, BLOCK = 64, 1024
WARM, STEPS = 1, 5
SHOWN = (
    ("towers, 96 wide", "towers-96"),
    ("towers of ViT-B-32", "towers-768"),
    ("towers of ViT-B-32, bf16", "towers-768-bf16"),
    ("heads", "heads"),
)
RIVALS = {
    "open_clip": (1, False),
    "open_clip --grad-checkpointing": (1, True),
    "open_clip --accum-freq": (0, False),
    "open_clip --accum-freq --grad-checkpointing": (0, True),
}
PARTS = (
    ("towers", (128, 512), (*RIVALS, "ours")),
    ("heads", (256, 1024, 4096), ("ClipLoss", "ours")),
    ("lite", (256,), ("cached", "trunks")),
)
Step = Callable[[], None]


def named_towers(width: int) -> str:
    """Make open_clip know towers of ViT-B-32's layout, `width` of 768 wide; what it calls them."""
    import open_clip

    text, head = max(32, width * 512 // 768), 64 if width == 768 else 32
    config = {
        "embed_dim": text,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": width, "patch_size": 32, "head_width": head},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": text, "heads": text // head, "layers": 12},
    }
    folder = Path(tempfile.mkdtemp())
    (folder / "bench-towers.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return "bench-towers"


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 [batch, 3, 224, 224], and tokens [batch, 77] of texts of 14 tokens."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (batch, 3, 224, 224), dtype=torch.uint8, generator=generator)
    tokens = torch.zeros(batch, 77, dtype=torch.long)
    tokens[:, :14] = torch.randint(1, 40000, (batch, 14), generator=generator)
    tokens[:, 0], tokens[:, 13] = 49406, 49407
    return pixels, tokens


def stepper(parameters: list[nn.Parameter], loss: Callable[[], torch.Tensor], bf16: bool = False) -> Step:
    """Loss (under autocast where bf16 is wanted), backward pass, AdamW."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, betas=(0.9, 0.98), eps=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()
        optimizer.step()

    return step


def through_trunks(who: str, batch: int, width: int, bf16: bool) -> Step:
    """A step of ours through both trunks."""
    from picdesk.backbones.open_clip import OpenClip
    from picdesk.training.chunks import embed_in_chunks
    from picdesk.training.losses import InfoNCE

    backbone, (pixels, tokens) = OpenClip(named_towers(width), seed=0).requires_grad_(True), inputs(batch)
    ours = InfoNCE()
    ours.block = BLOCK
    sides = {"pixels": pixels}, {"text": tokens}

    def loss() -> torch.Tensor:
        u, v = (embed_in_chunks(backbone, m, given, CHUNK) for m, given in zip(("image", "text"), sides, strict=True))
        return ours(u, v, torch.arange(batch), backbone.logit_scale)

    parameters = [value for name, value in backbone.named_parameters() if "tower.logit_scale" not in name]
    return stepper(parameters, loss, bf16)


class Clocked(torch.optim.AdamW):
    """AdamW that notes when each of its steps is done."""

    def step(self, closure=None):  # type: ignore[no-untyped-def]
        """As AdamW's."""
        done = super().step(closure)
        self.ends.append(time.perf_counter())
        return done


def open_clips_loop(who: str, batch: int, width: int, bf16: bool) -> list[float]:
    """Seconds of each step of open_clip's own training loop."""
    import open_clip
    from open_clip.loss import ClipLoss
    from open_clip_train.train import train_one_epoch

    accumulate, checkpointing = RIVALS[who]
    parts = accumulate or batch // CHUNK
    model = open_clip.create_model(named_towers(width), output_dict=True)
    model.set_grad_checkpointing(checkpointing)
    pixels, tokens = inputs(batch)
    floats = (pixels.float() / 255 - 0.45) / 0.27  # its loader gives pixels that are ready
    loader = [pair for _ in range(WARM + STEPS) for pair in zip(floats.chunk(parts), tokens.chunk(parts), strict=True)]
    batches = SimpleNamespace(num_batches=len(loader), num_samples=len(loader) * batch // parts)
    data = SimpleNamespace(set_epoch=lambda _: None, dataloader=Batches(loader, batches))
    settings = {
        "device": "cpu", "precision": "amp_bf16" if bf16 else "fp32", "distill": False, "skip_scheduler": True,
        "accum_freq": parts, "grad_clip_norm": None, "horovod": False, "rank": 0, "local_rank": 0, "world_size": 1,
        "log_local": False, "log_every_n_steps": 10**9, "batch_size": batch // parts, "wandb": False,
    }  # fmt: skip
    optimizer = Clocked(model.parameters(), lr=1e-5, betas=(0.9, 0.98), eps=1e-6)
    optimizer.ends = [time.perf_counter()]
    train_one_epoch(model, {"train": data}, ClipLoss(), 0, optimizer, None, None, None, SimpleNamespace(**settings))
    return [after - before for before, after in zip(optimizer.ends, optimizer.ends[1:], strict=False)]


class Batches(list):  # type: ignore[type-arg]
    """Batches that know how many they are, as open_clip's loaders do."""

    def __init__(self, pairs: list[tuple[torch.Tensor, ...]], counts: SimpleNamespace) -> None:
        super().__init__(pairs)
        self.num_batches, self.num_samples = counts.num_batches, counts.num_samples


def on_features(who: str, batch: int, width: int, bf16: bool) -> Step:
    """A step of linear heads on features that are there."""
    from open_clip.loss import ClipLoss

    from picdesk.training.losses import InfoNCE

    torch.manual_seed(0)
    images, texts = torch.randn(batch, 1280), torch.randn(batch, 384)
    heads = nn.ModuleList([nn.Linear(1280, 512), nn.Linear(384, 512)])
    scale = nn.Parameter(torch.tensor(2.66))
    ours, theirs = InfoNCE(), ClipLoss()
    ours.block = BLOCK
    picture = torch.arange(batch)

    def loss() -> torch.Tensor:
        u, v = (nn.functional.normalize(head(x), dim=-1) for head, x in zip(heads, (images, texts), strict=True))
        value: torch.Tensor = theirs(u, v, scale.exp()) if who == "ClipLoss" else ours(u, v, picture, scale)
        return value

    return stepper([*heads.parameters(), scale], loss)


def lite_heads(who: str, batch: int, width: int, bf16: bool) -> Step:
    """A step of the heads of `backbone=lite`: on cached features (`cached`), or through its frozen trunks (`trunks`)."""
    from picdesk.backbones.lite import Lite
    from picdesk.training.adaptation import Heads
    from picdesk.training.inputs import embed_inputs, split_inputs
    from picdesk.training.losses import InfoNCE

    backbone = Lite()
    trained = Heads().prepare(backbone)
    pixels = inputs(batch)[0]
    tokens = backbone.tokenize(["a dog runs along the beach with a red ball"] * batch)
    raw = {"pixels": pixels}, tokens
    cached = torch.randn(batch, backbone.trunk_dim("image")), torch.randn(batch, backbone.trunk_dim("text"))
    # frozen trunks keep no activations, so slices of the batch cost one forward pass
    given, size = (cached, batch) if who == "cached" else (raw, CHUNK)

    def loss() -> torch.Tensor:
        u, v = (
            torch.cat([embed_inputs(backbone, m, part) for part in split_inputs(x, size)])
            for m, x in zip(("image", "text"), given, strict=True)
        )
        value: torch.Tensor = InfoNCE()(u, v, torch.arange(batch), backbone.logit_scale)
        return value

    return stepper([value for _, value in trained], loss)


KINDS = {"towers": through_trunks, "heads": on_features, "lite": lite_heads}


def measure(kind: str, who: str, batch: int, width: int, bf16: bool, memory: float) -> dict[str, object]:
    """In this process: seconds of each counted step, and peak memory."""
    bound = int(memory * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    if who in RIVALS:
        seconds = open_clips_loop(who, batch, width, bf16)
    else:
        step, seconds = KINDS[kind](who, batch, width, bf16), []
        for _ in range(WARM + STEPS):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[WARM:], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def measure_apart(kind: str, who: str, batch: int, options: argparse.Namespace) -> dict[str, object] | None:
    """The measurement in a process of its own; None where its memory did not do."""
    settings = {
        "kind": kind, "who": who, "batch": batch, "width": options.width, "bf16": options.bf16,
        "memory": options.memory,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(settings)], capture_output=True, text=True, check=False
    )
    print(f"{kind} {who} {batch}: {done.stdout.strip()[-160:] or done.stderr.strip()[-120:]}", flush=True)
    if done.returncode:
        if "memory" not in done.stderr and done.returncode > 0:
            raise RuntimeError(done.stderr)
        return None
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def step_seconds(found: Row) -> list[float]:
    """Seconds of each counted step."""
    return [float(value) for value in found["seconds"]]  # type: ignore[attr-defined]


def cells(found: Row, batch: int) -> str:
    """Pairs a second with their span, steps a second, peak memory, the bound on memory."""
    bound = f"{found['bound']:g}"
    if "seconds" not in found:
        return f"does not fit | | | {bound}"
    seconds = step_seconds(found)
    middle = statistics.median(seconds)
    span = f"{batch / max(seconds):.3g} to {batch / min(seconds):.3g}"
    return f"{batch / middle:.3g} ({span}) | {1 / middle:.3g} | {float(str(found['peak'])):.2f} | {bound}"


def beside(found: dict[str, Row]) -> list[str]:
    """How many times as long a step of ours takes as each rival's, and with how much memory; slower ones are said to be."""
    lines = []
    for label, kind in SHOWN:
        for batch, who in sorted(
            {(int(key.split()[1]), key.split(" ", 2)[2]) for key in found if key.split()[0] == kind}
        ):
            ours, theirs = found.get(f"{kind} {batch} ours", {}), found[f"{kind} {batch} {who}"]
            if who == "ours" or "seconds" not in ours or "seconds" not in theirs:
                continue
            ratio = statistics.median(step_seconds(ours)) / statistics.median(step_seconds(theirs))
            word = "slower" if ratio > 1.02 else "quicker" if ratio < 0.98 else "as quick"
            share = float(str(ours["peak"])) / float(str(theirs["peak"]))
            lines.append(
                f"- {label}, batch {batch:,}, beside {who}: ours is {word} ({ratio:.2f} times as long a step), "
                f"with {share:.2f} times the memory"
            )
    return lines


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast, for the towers")
    parser.add_argument("--memory", type=float, default=8.0, help="bound on a process's address space, GB")
    parser.add_argument(
        "--only", choices=[kind for kind, *_ in PARTS], help="measure one part; the page is of all there is"
    )
    parser.add_argument("--batches", type=int, nargs="*", help="instead of those of the part")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(**json.loads(options.one))))
        return
    found: dict[str, Row] = {}
    wide = f"towers-{options.width}{'-bf16' if options.bf16 else ''}"
    for kind, batches, sides in PARTS:
        for batch in (options.batches or batches) if options.only in (None, kind) else ():
            for who in sides:
                row = {"bound": options.memory} | (measure_apart(kind, who, batch, options) or {})
                found = merge_results("train", {f"{wide if kind == 'towers' else kind} {batch} {who}": row})
    rows = [
        f"| {label} | {batch:,} | {who} | {cells(found[key], batch)} |"
        for label, kind in SHOWN
        for batch in sorted({int(key.split()[1]) for key in found if key.split()[0] == kind})
        for who in (*RIVALS, "ClipLoss", "ours")
        if (key := f"{kind} {batch} {who}") in found
    ]
    cached, trunks = (statistics.median(step_seconds(found[f"lite 256 {who}"])) for who in ("cached", "trunks"))
    threads, cores = torch.get_num_threads(), platform.processor() or platform.machine()
    page = f"""# Training

Towers: ViT-B-32's layout (12 layers, 224 pixels, patches of 32), 768 wide (ViT-B-32 itself) or 96, random weights, all learning;
{cores}, torch {torch.__version__} with {threads} threads, Python {platform.python_version()};
the last column bounds the address space of the process. Made by `python bench/train.py`; what is measured how stands at its head.

Pairs a second: median of {STEPS} steps after {WARM} that warms up, with the slowest and the quickest.

| what | batch | whose | pairs/s | steps/s | peak memory, GB | bound, GB |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{chr(10).join(beside(found))}

`heads` of `backbone=lite`, a batch of 256: {1000 * cached:.1f} ms a step on cached features,
{1000 * trunks:,.0f} ms through the frozen trunks (pixels and tokens in memory):
{trunks / cached:,.0f} times as long. An epoch is as many such steps either way.
"""
    (HERE / "results" / "train.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
