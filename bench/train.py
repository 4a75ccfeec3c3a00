"""Steps per second and peak memory of training, beside open_clip's loss and loop; writes bench/results/train.md.

    python bench/train.py                                   # towers at an eighth of ViT-B-32's width: minutes on two cores
    python bench/train.py --only towers --width 768 --memory 20             # ViT-B-32 itself: the best part of an hour
    python bench/train.py --only towers --width 768 --memory 20 --bf16      # the same under bf16 autocast, both sides

Random weights, random pixels and tokens: the cost is the same. Each measurement is a process of its own with a bound on its
memory (`--memory`, GB), so that what does not fit is told and hurts nobody; the first step warms up, the table shows the mean of
the others (a first step of more than LONG seconds stands for itself). `theirs` embeds the whole batch and takes open_clip's
ClipLoss; `ours` goes in chunks of 64, with logits in blocks of 1,024. `heads`: linear heads on cached features of 1,280 and 384
dimensions, both with AdamW, on the same inputs.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from kept import Row, merged

HERE = Path(__file__).resolve().parent
BATCHES = (256, 1024, 4096)
CHUNK, BLOCK = 64, 1024
LONG = 30.0
SHOWN = (
    ("towers, 96 wide", "towers-96"),
    ("towers of ViT-B-32", "towers-768"),
    ("towers of ViT-B-32, bf16", "towers-768-bf16"),
    ("heads", "heads"),
)
PARTS = (
    ("towers", 1, BATCHES, ("theirs", "ours")),
    ("heads", 10, BATCHES, ("theirs", "ours")),
    ("lite", 3, (256,), ("cached", "trunks")),
)
Step = Callable[[], None]


def towers(width: int):  # type: ignore[no-untyped-def]
    """Our backbone around open_clip's towers of ViT-B-32's layout, `width` of 768 wide, all weights learning."""
    import open_clip

    from picdesk.backbones.open_clip import OpenClip

    text, head = max(32, width * 512 // 768), 64 if width == 768 else 32
    config = {
        "embed_dim": text,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": width, "patch_size": 32, "head_width": head},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": text, "heads": text // head, "layers": 12},
    }
    folder = Path(tempfile.mkdtemp())
    (folder / "bench-towers.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return OpenClip("bench-towers", seed=0).requires_grad_(True)


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
    """A step through both trunks."""
    from open_clip.loss import ClipLoss

    from picdesk.training.chunks import embed_in_chunks
    from picdesk.training.inputs import embed_inputs
    from picdesk.training.losses import InfoNCE

    backbone, (pixels, tokens) = towers(width), inputs(batch)
    ours, theirs = InfoNCE(), ClipLoss()
    ours.block = BLOCK
    sides = {"pixels": pixels}, {"text": tokens}

    def loss() -> torch.Tensor:
        if who == "theirs":
            u, v = (embed_inputs(backbone, side, given) for side, given in zip(("image", "text"), sides, strict=True))
            value: torch.Tensor = theirs(u, v, backbone.logit_scale.exp())
            return value
        u, v = (embed_in_chunks(backbone, m, given, CHUNK) for m, given in zip(("image", "text"), sides, strict=True))
        return ours(u, v, torch.arange(batch), backbone.logit_scale)

    parameters = [value for name, value in backbone.named_parameters() if "tower.logit_scale" not in name]
    return stepper(parameters, loss, bf16)


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
        value: torch.Tensor = theirs(u, v, scale.exp()) if who == "theirs" else ours(u, v, picture, scale)
        return value

    return stepper([*heads.parameters(), scale], loss)


def lite_heads(who: str, batch: int, width: int, bf16: bool) -> Step:
    """A step of the heads of `backbone=lite`: on cached features (`cached`), or through its frozen trunks (`trunks`)."""
    from picdesk.backbones.lite import Lite
    from picdesk.training.adaptation import Heads
    from picdesk.training.inputs import embed_inputs, split
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
            torch.cat([embed_inputs(backbone, m, part) for part in split(x, size)])
            for m, x in zip(("image", "text"), given, strict=True)
        )
        value: torch.Tensor = InfoNCE()(u, v, torch.arange(batch), backbone.logit_scale)
        return value

    return stepper([value for _, value in trained], loss)


KINDS = {"towers": through_trunks, "heads": on_features, "lite": lite_heads}


def measure(kind: str, who: str, batch: int, width: int, bf16: bool, steps: int, memory: float) -> dict[str, float]:
    """In this process: seconds a step and peak memory."""
    bound = int(memory * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    step = KINDS[kind](who, batch, width, bf16)
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    if seconds < LONG:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = (time.perf_counter() - start) / steps
    return {
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def apart(kind: str, who: str, batch: int, steps: int, options: argparse.Namespace) -> dict[str, float] | None:
    """The measurement in a process of its own; None where its memory did not do."""
    settings = {
        "kind": kind, "who": who, "batch": batch, "width": options.width, "bf16": options.bf16,
        "steps": steps, "memory": options.memory,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(settings)], capture_output=True, text=True, check=False
    )
    print(f"{kind} {who} {batch}: {done.stdout.strip() or done.stderr.strip()[-120:]}", flush=True)
    if done.returncode:
        if "memory" not in done.stderr and done.returncode > 0:
            raise RuntimeError(done.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout)
    return found


def cells(found: Row, batch: int) -> str:
    """Steps a second, pairs a second, peak memory, the bound on memory."""
    bound = f"{found['bound']:g}"
    if "seconds" not in found:
        return f"does not fit | | | {bound}"
    seconds, peak = (float(str(found[key])) for key in ("seconds", "peak"))
    return f"{1 / seconds:.3g} | {batch / seconds:.3g} | {peak:.2f} | {bound}"


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast, for the towers")
    parser.add_argument("--memory", type=float, default=8.0, help="bound on a process's address space, GB")
    parser.add_argument(
        "--only", choices=[kind for kind, *_ in PARTS], help="measure one part; the page is of all there is"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(**json.loads(options.one))))
        return
    found: dict[str, Row] = {}
    wide = f"towers-{options.width}{'-bf16' if options.bf16 else ''}"
    for kind, steps, batches, sides in PARTS:
        for batch in batches if options.only in (None, kind) else ():
            for who in sides:
                row = {"bound": options.memory} | (apart(kind, who, batch, steps, options) or {})
                found = merged("train", {f"{wide if kind == 'towers' else kind} {batch} {who}": row})
    rows = [
        f"| {label} | {batch:,} | {who} | {cells(found[key], batch)} |"
        for label, kind in SHOWN
        for batch in BATCHES
        for who in ("theirs", "ours")
        if (key := f"{kind} {batch} {who}") in found
    ]
    cached, trunks = (float(str(found[f"lite 256 {who}"]["seconds"])) for who in ("cached", "trunks"))
    threads, cores = torch.get_num_threads(), platform.processor() or platform.machine()
    page = f"""# Training

Towers: ViT-B-32's layout (12 layers, 224 pixels, patches of 32), 768 wide (ViT-B-32 itself) or 96, random weights, all learning;
{cores}, torch {torch.__version__} with {threads} threads, Python {platform.python_version()};
the last column bounds the address space of the process. Made by `python bench/train.py`; what is measured how stands at its head.

| what | batch | whose | steps/s | pairs/s | peak memory, GB | bound, GB |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

`heads` of `backbone=lite`, a batch of 256: {1000 * cached:.1f} ms a step on cached features,
{1000 * trunks:,.0f} ms through the frozen trunks (pixels and tokens in memory):
{trunks / cached:,.0f} times as long. An epoch is as many such steps either way.
"""
    (HERE / "results" / "train.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
