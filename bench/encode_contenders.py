"""Who takes part in bench/encode.py: open_clip's usual loop, ours, the ceiling, and a tool in an interpreter of its own."""

import copy
import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from picdesk.backbones.open_clip import OpenClip
from picdesk.data.facts import PictureFacts
from picdesk.data.images import open_picture
from picdesk.data.sources import PictureFiles
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store

HERE = Path(__file__).resolve().parent
MODEL, BATCH, WORKERS = "ViT-B-32", 32, 2
Vectors = np.ndarray


def material(pictures: int, captions: int) -> tuple[list[Path], list[str]]:
    """The first pictures by name, and captions spread over the file, as they stand."""
    root = Path(os.environ.get("PICDESK_DATA_ROOT", HERE.parent.parent / "shared" / "data")) / "flickr8k"
    paths = sorted((root / "Images").glob("*.jpg"))[:pictures]
    lines = (root / "captions.txt").read_text(encoding="utf-8").splitlines()[1:]
    step = max(len(lines) // captions, 1)
    return paths, [line.split(",", 1)[1].strip('" ') for line in lines[::step]][:captions]


class Files(torch.utils.data.Dataset):
    """What people write around open_clip: open, transform, stack."""

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[i]))


class Usual:
    """open_clip's usual loop: its transform in a DataLoader with workers, its tokenizer at 77 tokens, float32.

    On a GPU with its own remedies: pinned memory, channels last, and with `bf16` autocast.
    """

    def __init__(
        self, model: str = MODEL, device: str = "cpu", batch: int = BATCH, workers: int = WORKERS, bf16: bool = False
    ) -> None:
        self.device, self.batch, self.workers, self.bf16 = device, batch, workers, bf16
        self.layout = torch.channels_last if device != "cpu" else torch.contiguous_format
        torch.manual_seed(0)
        self.clip = open_clip.create_model(model).eval().to(device, memory_format=self.layout)
        self.transform = open_clip.image_transform(224, is_train=False)
        self.tokenizer = open_clip.get_tokenizer(model)
        self.made: dict[str, Vectors] = {}

    def pictures(self, paths: list[Path]) -> Vectors:
        """Embeddings [n, dim] of picture files."""
        loader = torch.utils.data.DataLoader(
            Files(paths, self.transform),
            batch_size=self.batch,
            num_workers=self.workers,
            pin_memory=self.device != "cpu",
        )
        self.made["pictures"] = self._through(self.clip.encode_image, loader, memory_format=self.layout)
        return self.made["pictures"]

    def texts(self, texts: list[str]) -> Vectors:
        """Embeddings [n, dim] of texts."""
        parts = [self.tokenizer(texts[at : at + self.batch]) for at in range(0, len(texts), self.batch)]
        self.made["texts"] = self._through(self.clip.encode_text, parts)
        return self.made["texts"]

    def _through(
        self, encode: Callable[..., torch.Tensor], batches: Iterable[torch.Tensor], **layout: torch.memory_format
    ) -> Vectors:
        with torch.inference_mode(), torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16):
            made = [encode(batch.to(self.device, non_blocking=True, **layout), normalize=True) for batch in batches]
            return torch.cat(made).float().cpu().numpy()


class Ours:
    """The encode loop on a fresh store, or on one that holds everything; counts what goes through the trunks."""

    def __init__(
        self, precision: str, model: str = MODEL, device: str = "cpu", batch: int = BATCH, workers: int = WORKERS
    ) -> None:
        self.precision, self.device, self.batch, self.workers = precision, device, batch, workers
        self.backbone = OpenClip(model, seed=0)
        self.passed = 0
        for trunk in (self.backbone.image_trunk, self.backbone.text_trunk):
            trunk.register_forward_hook(self._count)
            self.backbone.trunk_fingerprint("image" if trunk is self.backbone.image_trunk else "text")

    def _count(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        self.passed += len(output)

    def pictures(self, paths: list[Path], store: Path) -> Vectors:
        """Embeddings [n, dim] of picture files, through the store."""
        encoder = self._encoder(store)
        return self._head("image", encoder.pictures(self.backbone, PictureFiles(tuple(paths)), open_picture))

    def texts(self, texts: list[str], store: Path) -> Vectors:
        """Embeddings [n, dim] of texts, through the store."""
        return self._head("text", self._encoder(store).texts(self.backbone, texts))

    def _encoder(self, store: Path) -> Encoder:
        facts = PictureFacts(store / "pictures.json")
        return Encoder(Store(store), self.batch, self.workers, self.precision, self.device, digests=facts)

    def _head(self, modality: str, features: Vectors) -> Vectors:
        with torch.inference_mode():
            return self.backbone.embed(modality, torch.from_numpy(features)).numpy()


def ceiling(ours: Ours, paths: list[Path]) -> Callable[[], None]:
    """The picture trunk alone over normalised batches that lie in memory."""
    backbone = ours.backbone
    dtype = torch.bfloat16 if ours.precision == "bf16" else torch.float32
    trunk = copy.deepcopy(backbone.image_trunk).to(ours.device, dtype)
    trunk._forward_hooks.clear()
    pixels = np.stack([backbone.picture_to_pixels(open_picture(path.read_bytes())) for path in paths])
    parts = torch.from_numpy(pixels).split(ours.batch)
    batches = [backbone.normalise_pixels(part.to(ours.device)).to(dtype) for part in parts]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                trunk(batch)

    return run


class Foreign:
    """sentence-transformers' CLIP model in an interpreter of its own, kept alive between rounds."""

    def __init__(self, usual: Usual, paths: list[Path], texts: list[str]) -> None:
        command = [os.environ["PICDESK_BENCH_PYTHON"], str(HERE / "encode_foreign.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        vocabulary = usual.tokenizer.encoder
        merges = [" ".join(pair) for pair in usual.tokenizer.bpe_ranks]
        self._say(json.dumps([vocabulary, merges, [str(path) for path in paths], texts, BATCH]))
        self.version = self._hear()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def round(self) -> dict[str, tuple[float, float]]:
        """Wall and processor seconds for all pictures and for all texts."""
        self._say("go")
        values = [float(value) for value in self._hear().split()]
        return {"pictures": (values[0], values[1]), "texts": (values[2], values[3])}
