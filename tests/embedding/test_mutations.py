"""Twenty changes to a store, a backbone or a data set: each re-encodes exactly what changed, or is refused with its name."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from picdesk.embedding.encoder import Encoder
from picdesk.embedding.shards import shard_paths, write_shard
from picdesk.embedding.store import Store
from picdesk.errors import DataError
from tests.embedding.fakes import Files, Tiny, items_seen
from tests.embedding.worker import blob, decode

COUNT = 6
TEXTS = ["a", "bb", "ccc", "dddd"]


@dataclass
class Case:
    """What a job is given: settings, a backbone, picture files, texts, and the store that it finds."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    backbone: Tiny = field(default_factory=Tiny)
    texts: list[str] = field(default_factory=lambda: list(TEXTS))

    def __post_init__(self) -> None:
        self.paths = [self.root / f"p{i}.png" for i in range(COUNT)]
        for i, path in enumerate(self.paths):
            path.write_bytes(blob(i))

    @property
    def shard(self) -> Path:
        """The shard of pictures."""
        (folder,) = (self.root / "store").glob("image-*")
        return shard_paths(folder)[0]

    def run(self) -> tuple[int, int]:
        """How many pictures and texts went through the trunks; their features are checked against a plain loop."""
        passed = items_seen(self.backbone.image_trunk), items_seen(self.backbone.text_trunk)
        encoder = Encoder(Store(self.root / "store"), **self.settings)
        images = encoder.pictures(self.backbone, Files(self.paths), lambda data, shortest=None: decode(data))
        texts = encoder.texts(self.backbone, self.texts)
        passed = items_seen(self.backbone.image_trunk) - passed[0], items_seen(self.backbone.text_trunk) - passed[1]
        tolerance = 1e-6 if not self.settings else 2e-2
        np.testing.assert_allclose(images, self.plain_images(), atol=tolerance)
        np.testing.assert_allclose(texts, self.plain_texts(), atol=20 * tolerance)
        return (encoder.counts.encoded["image"], encoder.counts.encoded["text"]) if self.settings else passed

    def plain_images(self) -> np.ndarray:
        pixels = [self.backbone.picture_to_pixels(decode(path.read_bytes())) for path in self.paths]
        with torch.inference_mode():
            inputs = self.backbone.normalise_pixels(torch.from_numpy(np.stack(pixels)))
            return torch.nn.Linear.forward(self.backbone.image_trunk, inputs.mean((2, 3))).numpy()  # type: ignore[arg-type]

    def plain_texts(self) -> np.ndarray:
        with torch.inference_mode():
            counts = self.backbone.tokenize(self.texts)["counts"]
            return torch.nn.Linear.forward(self.backbone.text_trunk, counts).numpy()  # type: ignore[arg-type]


def weight(case: Case) -> None:
    case.backbone.image_trunk.weight.data[0, 0] += 1e-3
    case.backbone.forget_fingerprints()


def text_weight(case: Case) -> None:
    case.backbone.text_trunk.bias.data[3] += 1e-3
    case.backbone.forget_fingerprints()


def preprocessing(modality: str, **change: Any) -> Callable[[Case], None]:
    def change_it(case: Case) -> None:
        other = {name: dict(part) for name, part in case.backbone._preprocessing.items()}
        other[modality] |= change
        case.backbone._preprocessing = other  # type: ignore[assignment]
        case.backbone.forget_fingerprints()

    return change_it


def resolution(case: Case) -> None:
    case.backbone = Tiny(size=5)


def setting(**values: Any) -> Callable[[Case], None]:
    return lambda case: case.settings.update(values)


def swapped_content(case: Case) -> None:
    """Two files change names: both contents are known."""
    first, second = case.paths[0].read_bytes(), case.paths[1].read_bytes()
    case.paths[0].write_bytes(second)
    case.paths[1].write_bytes(first)


def new_content(case: Case) -> None:
    """Other content under the old name, with the old size's and the old time's look as far as one can forge it."""
    before = case.paths[2].stat()
    case.paths[2].write_bytes(blob(99))
    os.utime(case.paths[2], ns=(before.st_atime_ns, before.st_mtime_ns))


def rename_pictures(case: Case) -> None:
    case.paths[3] = case.paths[3].rename(case.root / "other-name.png")


def move_store(case: Case) -> None:
    (case.root / "elsewhere").mkdir()
    case.paths = [Path(shutil.move(path, case.root / "elsewhere")) for path in case.paths]


def reorder_items(case: Case) -> None:
    case.paths.reverse()
    case.texts.reverse()


def another_picture(case: Case) -> None:
    case.paths.append(case.root / "new.png")
    case.paths[-1].write_bytes(blob(500))


def other_text(case: Case) -> None:
    case.texts[1] = "another caption"


def repeated_text(case: Case) -> None:
    case.texts += ["a", "bb"]


def moved_store(case: Case) -> None:
    shutil.copytree(case.root / "store", case.root / "copy")
    shutil.rmtree(case.root / "store")
    (case.root / "copy").rename(case.root / "store")


def lost_shard(case: Case) -> None:
    case.shard.unlink()


def forgotten_checks(case: Case) -> None:
    for path in (case.root / "store").rglob("verified.json"):
        path.write_text("not json")


@pytest.mark.parametrize(
    ("change", "encoded"),
    [
        (weight, (COUNT, 0)),
        (text_weight, (0, len(TEXTS))),
        (preprocessing("image", mean=0.4), (COUNT, 0)),
        (preprocessing("image", std=0.2), (COUNT, 0)),
        (preprocessing("text", tokenizer="another"), (0, len(TEXTS))),
        (preprocessing("text", max_tokens=5), (0, len(TEXTS))),
        (resolution, (COUNT, 0)),
        (setting(precision="bf16"), (COUNT, len(TEXTS))),
        (setting(storage="float16"), (COUNT, len(TEXTS))),
        (setting(fast_decode=True), (COUNT, 0)),
        (swapped_content, (0, 0)),
        (new_content, (1, 0)),
        (rename_pictures, (0, 0)),
        (move_store, (0, 0)),
        (reorder_items, (0, 0)),
        (another_picture, (1, 0)),
        (other_text, (0, 1)),
        (repeated_text, (0, 0)),
        (moved_store, (0, 0)),
        (lost_shard, (COUNT, 0)),
        (forgotten_checks, (0, 0)),
    ],
)
def test_exactly_what_changed_is_encoded(
    tmp_path: Path, change: Callable[[Case], None], encoded: tuple[int, int]
) -> None:
    case = Case(tmp_path)
    assert case.run() == (COUNT, len(TEXTS))
    assert case.run() == (0, 0)
    change(case)
    assert case.run() == encoded
    assert case.run() == (0, 0)


def one_byte(case: Case) -> None:
    """One bit of one feature, with the file's time set back."""
    before = case.shard.stat()
    content = bytearray(case.shard.read_bytes())
    content[-40] ^= 1
    case.shard.write_bytes(bytes(content))
    os.utime(case.shard, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_short(case: Case) -> None:
    case.shard.write_bytes(case.shard.read_bytes()[:-7])


def empty_items(case: Case) -> None:
    case.shard.write_bytes(b"")


def other_name(case: Case) -> None:
    case.shard.rename(case.shard.with_name("0" * 32 + ".safetensors"))


def from_another_space(case: Case) -> None:
    folder = case.shard.parent
    case.backbone = Tiny(seed=3)
    case.run()
    (other,) = [path for path in (case.root / "store").glob("image-*") if path != folder]
    shutil.copy(shard_paths(folder)[0], other)


def of_another_form(width: int, dtype: type[np.floating[Any]]) -> Callable[[Case], None]:
    def add_shard(case: Case) -> None:
        with safe_open(case.shard, "numpy") as opened:
            space = opened.metadata()["space"]
        write_shard(case.shard.parent, space, [bytes(16)], np.zeros((1, width), dtype))

    return add_shard


def change_description(**values: Any) -> Callable[[Case], None]:
    def change_it(case: Case) -> None:
        path = case.shard.parent / "space.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change_it


def broken_description(case: Case) -> None:
    (case.shard.parent / "space.json").write_text("{")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_byte, "is damaged"),
        (cut_short, "is damaged"),
        (empty_items, "is damaged"),
        (other_name, "is damaged"),
        (from_another_space, "belongs to space"),
        (of_another_form(9, np.float32), r"holds float32 features \(1, 9\) for 1 keys, not float32 of width 5"),
        (of_another_form(5, np.float16), r"holds float16 features \(1, 5\) for 1 keys, not float32 of width 5"),
        (change_description(precision="bf16"), "precision is 'bf16' there and 'fp32' here"),
        (change_description(trunk="0" * 64), "trunk is '000"),
        (change_description(width=9), "width is 9 there and 5 here"),
        (change_description(decode="draft"), "decode is 'draft' there and 'full' here"),
        (broken_description, "cannot be read"),
    ],
)
def test_what_does_not_belong_is_refused(tmp_path: Path, change: Callable[[Case], None], told: str) -> None:
    case = Case(tmp_path)
    case.run()
    change(case)
    with pytest.raises(DataError, match=told):
        case.run()


def test_a_picture_that_changes_during_the_job_is_refused(tmp_path: Path) -> None:
    case = Case(tmp_path)

    def change_next(data: bytes, shortest: int | None = None) -> Any:
        case.paths[-1].write_bytes(blob(123))
        return decode(data)

    with pytest.raises(DataError, match="picture 5: its content changed"):
        Encoder(Store(tmp_path / "store"), batch_size=1, workers=1).pictures(Tiny(), Files(case.paths), change_next)
