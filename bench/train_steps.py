"""One measurement of bench/train.py in a process of its own: a side's steps, their seconds and its peak memory."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

CHUNK, BLOCK = 64, 1024
DRAWN = 4096  # distinct pictures of a batch
WARM, STEPS = 1, 5
RIVALS = {
    "open_clip": (1, False),
    "open_clip --grad-checkpointing": (1, True),
    "open_clip --accum-freq": (0, False),
    "open_clip --accum-freq --grad-checkpointing": (0, True),
}
Step = Callable[[], None]


def named_towers(width: int) -> str:
    """Make open_clip know towers of ViT-B-32's layout, `width` of 768 wide; what it calls them.

    Those below 96, which no table shows, have one layer: they are there to see whether all runs.
    """
    import open_clip

    text, head, layers = max(32, width * 512 // 768), 64 if width == 768 else 32, 12 if width >= 96 else 1
    config = {
        "embed_dim": text,
        "vision_cfg": {"image_size": 224, "layers": layers, "width": width, "patch_size": 32, "head_width": head},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": text, "heads": text // head, "layers": layers},
    }
    folder = Path(tempfile.mkdtemp())
    (folder / "bench-towers.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return "bench-towers"


def inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uint8 [batch, 3, 224, 224], and tokens [batch, 77] of texts of 14 tokens."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 256, (min(batch, DRAWN), 3, 224, 224), dtype=torch.uint8, generator=generator)
    pixels = drawn.repeat(-(-batch // DRAWN), 1, 1, 1)[:batch]  # the same ones again and again cost as much
    tokens = torch.zeros(batch, 77, dtype=torch.long)
    tokens[:, :14] = torch.randint(1, 40000, (batch, 14), generator=generator)
    tokens[:, 0], tokens[:, 13] = 49406, 49407
    return pixels, tokens


def wait_for(device: str | torch.device) -> None:
    """Until a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Setting:
    """How steps are measured: towers `width` of 768 wide, under bf16 autocast or not, on a device, `chunk` pairs at a time;
    `memory` bounds the address space of the process, in GB (0: no bound)."""

    width: int = 96
    bf16: bool = False
    memory: float = 0.0
    device: str = "cpu"
    chunk: int = CHUNK


def stepper(parameters: list[nn.Parameter], loss: Callable[[], torch.Tensor], setting: Setting | None = None) -> Step:
    """Loss (under autocast where bf16 is wanted), backward pass, AdamW."""
    bf16, device = (setting.bf16, setting.device) if setting else (False, "cpu")
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, betas=(0.9, 0.98), eps=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()
        optimizer.step()
        wait_for(device)

    return step


def through_trunks(who: str, batch: int, setting: Setting) -> Step:
    """A step of ours through both trunks; as in a job, the whole batch is brought to the device."""
    from picdesk.backbones.open_clip import OpenClip
    from picdesk.training.chunks import embed_in_chunks
    from picdesk.training.inputs import move_inputs
    from picdesk.training.losses import InfoNCE

    device = torch.device(setting.device)
    backbone = OpenClip(named_towers(setting.width), seed=0).requires_grad_(True).to(device)
    pixels, tokens = inputs(batch)
    ours = InfoNCE()
    ours.block = BLOCK
    sides = {"pixels": pixels}, {"text": tokens}

    def loss() -> torch.Tensor:
        u, v = (
            embed_in_chunks(backbone, modality, move_inputs(given, device), setting.chunk)
            for modality, given in zip(("image", "text"), sides, strict=True)
        )
        return ours(u, v, torch.arange(batch, device=device), backbone.logit_scale)

    parameters = [value for name, value in backbone.named_parameters() if "tower.logit_scale" not in name]
    return stepper(parameters, loss, setting)


class Clocked(torch.optim.AdamW):
    """AdamW that notes when each of its steps is done."""

    def step(self, closure=None):  # type: ignore[no-untyped-def]
        """As AdamW's."""
        done = super().step(closure)
        wait_for(self.param_groups[0]["params"][0].device)
        self.ends.append(time.perf_counter())
        return done


def open_clips_loop(who: str, batch: int, setting: Setting) -> list[float]:
    """Seconds of each step of open_clip's own training loop; on a GPU with its `--local-loss --gather-with-grad`."""
    import open_clip
    from open_clip.loss import ClipLoss
    from open_clip_train.train import train_one_epoch

    accumulate, checkpointing = RIVALS[who]
    parts = accumulate or max(1, batch // (setting.chunk or batch))
    model = open_clip.create_model(named_towers(setting.width), output_dict=True).to(setting.device)
    model.set_grad_checkpointing(checkpointing)
    pixels, tokens = inputs(batch)
    floats = (pixels.float() / 255 - 0.45) / 0.27  # its loader gives pixels that are ready
    loader = [pair for _ in range(WARM + STEPS) for pair in zip(floats.chunk(parts), tokens.chunk(parts), strict=True)]
    batches = SimpleNamespace(num_batches=len(loader), num_samples=len(loader) * batch // parts)
    data = SimpleNamespace(set_epoch=lambda _: None, dataloader=Batches(loader, batches))
    settings = {
        "device": setting.device, "precision": "amp_bf16" if setting.bf16 else "fp32", "distill": False, "skip_scheduler": True,
        "accum_freq": parts, "grad_clip_norm": None, "horovod": False, "rank": 0, "local_rank": 0, "world_size": 1,
        "log_local": False, "log_every_n_steps": 10**9, "batch_size": batch // parts, "wandb": False,
    }  # fmt: skip
    optimizer = Clocked(model.parameters(), lr=1e-5, betas=(0.9, 0.98), eps=1e-6)
    optimizer.ends = [time.perf_counter()]
    local = setting.device != "cpu"
    loss = ClipLoss(local_loss=local, gather_with_grad=local)
    train_one_epoch(model, {"train": data}, loss, 0, optimizer, None, None, None, SimpleNamespace(**settings))
    return [after - before for before, after in zip(optimizer.ends, optimizer.ends[1:], strict=False)]


class Batches(list):  # type: ignore[type-arg]
    """Batches that know how many they are, as open_clip's loaders do."""

    def __init__(self, pairs: list[tuple[torch.Tensor, ...]], counts: SimpleNamespace) -> None:
        super().__init__(pairs)
        self.num_batches, self.num_samples = counts.num_batches, counts.num_samples


def on_features(who: str, batch: int, setting: Setting) -> Step:
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


def lite_heads(who: str, batch: int, setting: Setting) -> Step:
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


def measure(kind: str, who: str, batch: int, setting: Setting) -> dict[str, object]:
    """In this process: seconds of each counted step, and peak memory in GB: of the process, or what tensors took on a GPU."""
    if setting.memory:
        bound = int(setting.memory * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    if who in RIVALS:
        seconds = open_clips_loop(who, batch, setting)
    else:
        step, seconds = KINDS[kind](who, batch, setting), []
        for _ in range(WARM + STEPS):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[WARM:], "peak": peak_memory(setting.device)}


def peak_memory(device: str) -> float:
    """GB: the most that tensors took on a GPU, or that this process took of main memory."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_apart(kind: str, who: str, batch: int, setting: Setting) -> dict[str, object] | None:
    """The measurement in a process of its own; None where its memory did not do."""
    given = json.dumps({"kind": kind, "who": who, "batch": batch, "setting": asdict(setting)})
    done = subprocess.run([sys.executable, __file__, given], capture_output=True, text=True, check=False)
    print(f"{kind} {who} {batch}: {done.stdout.strip()[-160:] or done.stderr.strip()[-120:]}", flush=True)
    if done.returncode:
        if "memory" not in done.stderr and done.returncode > 0:
            raise RuntimeError(done.stderr)
        return None
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    print(json.dumps(measure(**told | {"setting": Setting(**told["setting"])})))
