"""Running out of memory halves the batch and says so; the caller's weights come back bit for bit; equality to a plain loop."""

import logging
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from picdesk.bert import cut_groups
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import Forward, use_threads, working
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError
from picdesk.process.float32 import exact_settings
from picdesk.retrieval.features import head
from tests.embedding.fakes import Pictures, Tiny
from tests.embedding.worker import blob, decode


class Hungry(torch.nn.Module):
    """Fails, as an accelerator does, for more than `room` items."""

    def __init__(
        self, room: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "CUDA out of memory"
    ) -> None:
        super().__init__()
        self.room, self.error, self.text = room, error, text
        self.sizes: list[int] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        if len(pixels) > self.room:
            raise self.error(self.text)
        return pixels.float().mean((2, 3))


def forward_of(trunk: torch.nn.Module, most: int = 32) -> Forward:
    return Forward(trunk, "cpu", torch.float32, lambda pixels: pixels.float(), most)


@pytest.mark.parametrize(
    ("error", "text"),
    [(torch.OutOfMemoryError, "CUDA out of memory. Tried"), (RuntimeError, "can't allocate memory"), (MemoryError, "")],
)
def test_out_of_memory_halves_and_says_so(caplog: pytest.LogCaptureFixture, error: type[Exception], text: str) -> None:
    trunk = Hungry(3, error, text)
    forward = forward_of(trunk, 10)
    pixels = torch.randint(0, 256, (10, 3, 4, 4), dtype=torch.uint8)
    with caplog.at_level(logging.WARNING):
        features = forward({"pixels": pixels})
    np.testing.assert_allclose(features, pixels.float().mean((2, 3)), rtol=1e-6)
    assert trunk.sizes == [10, 5, 3, 3, 3, 1]
    assert "set encode.batch_size=3" in caplog.text
    forward({"pixels": pixels})
    assert trunk.sizes[6:] == [3, 3, 3, 1], "the smaller batch was forgotten"


def test_what_a_failed_pass_held_is_gone_before_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the error is there, so are the activations in its frames, and a card gets nothing back."""
    held: list[weakref.ref[torch.Tensor]] = []

    class Holding(Hungry):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            activations = pixels.float() + 1
            held.append(weakref.ref(activations))
            return super().forward(pixels)

    forward = forward_of(Holding(2), 4)
    alive: list[bool] = []
    monkeypatch.setattr(Forward, "_free_cache", lambda _: alive.append(held[-1]() is not None))
    forward({"pixels": torch.zeros(4, 3, 4, 4, dtype=torch.uint8)})
    assert alive == [False]


def test_not_even_one_item_fits() -> None:
    with pytest.raises(ConfigError, match=r"encode\.device=cpu: not even one"):
        forward_of(Hungry(0))({"pixels": torch.zeros(3, 3, 4, 4, dtype=torch.uint8)})


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        forward_of(Hungry(0, RuntimeError, "a bug"))({"pixels": torch.zeros(3, 3, 4, 4, dtype=torch.uint8)})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_callers_trunk_is_untouched(precision: str) -> None:
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    with working(trunk, "cpu", precision) as (ready, layout):
        assert not ready.training
        assert layout is torch.channels_last
        assert ready[0].weight.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
        ready(torch.randn(2, 3, 8, 8).to(ready[0].weight.dtype, memory_format=layout))
    after = trunk.state_dict()
    assert trunk.training
    assert all(
        torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items()
    )
    assert all(tensor.is_contiguous() for tensor in after.values())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 32])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_batch_size_and_order_gives_the_plain_loops_features(tmp_path: Path, batch_size: int, order: int) -> None:
    rows = np.random.default_rng(order).permutation(23)
    blobs, texts = [blob(int(i)) for i in rows], [f"{'word ' * (i % 5)}{'xyz'[i % 3] * i}" for i in rows]
    backbone = Tiny()
    encoder = Encoder(Store(tmp_path), batch_size=batch_size, shard=9)
    images, captions = encoder.pictures(backbone, Pictures(blobs), decode), encoder.texts(backbone, texts)
    with torch.inference_mode():
        for row, content in enumerate(blobs):
            pixels = torch.from_numpy(backbone.picture_to_pixels(decode(content)).copy())[None]
            np.testing.assert_allclose(
                images[row], backbone.image_trunk(backbone.normalise_pixels(pixels))[0], atol=1e-5, rtol=0
            )
            expected = backbone.text_trunk(**backbone.tokenize([texts[row]]))[0]
            np.testing.assert_allclose(captions[row], expected, atol=1e-5, rtol=1e-6)


def test_fast_decoding_asks_for_the_side_that_will_do(tmp_path: Path) -> None:
    asked: list[object] = []
    backbone = Tiny()
    backbone.shortest_side = 4

    def decoder(data: bytes, shortest: object = "in full") -> object:
        asked.append(shortest)
        return decode(data)

    for fast in (False, True):
        encoder = Encoder(Store(tmp_path), fast_decode=fast)
        encoder.pictures(backbone, Pictures([blob(0)]), decoder)  # type: ignore[arg-type]
    assert asked == ["in full", 4]
    assert len(list(tmp_path.glob("image-*"))) == 2


def test_float16_halves_the_store_and_is_near(tmp_path: Path) -> None:
    texts = [f"text {'a' * i}" for i in range(50)]
    single = Encoder(Store(tmp_path / "single")).texts(Tiny(), texts)
    half = Encoder(Store(tmp_path / "half"), storage="float16").texts(Tiny(), texts)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, single, rtol=1e-3, atol=1e-3)
    with pytest.raises(ConfigError, match=r"encode\.storage=float8"):
        Encoder(Store(tmp_path), storage="float8")


def test_a_few_tokens_go_through_on_one_thread_and_the_callers_threads_come_back() -> None:
    """Several threads cut so small a product along the sum, and its last bits are not those of a batch."""
    seen: list[int] = []

    class Watch(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return tokens.float()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        forward = forward_of(Watch())
        for shape in ((1, 5), (2, 6), (1, 13), (2, 20)):
            forward({"tokens": torch.zeros(shape, dtype=torch.long)})
        assert seen == [1, 1, 2, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_texts_one_after_the_other_go_through_on_one_thread() -> None:
    """So that others may compute meanwhile."""
    seen: list[int] = []

    class Packing(torch.nn.Module):
        packs = True

        def packed(self, input_ids: torch.Tensor, groups: Sequence[tuple[int, int]]) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return torch.stack([one.float().mean(1) for one in cut_groups(input_ids[:, None], groups)[0]])

    with use_threads(2):
        forward = forward_of(Packing())
        assert forward.packs
        assert forward.packed(torch.tensor([1, 3, 5, 7]), [(2, 2)]).shape[0] == 2
        assert torch.get_num_threads() == 2
    assert seen == [1]
    assert not forward_of(torch.nn.Identity()).packs


@pytest.mark.parametrize("standing", [False, True])
def test_trunks_and_heads_compute_in_float32_whatever_the_process_allows(standing: bool, tmp_path: Path) -> None:
    """The place in the store says fp32, and a GPU rounds convolutions to ten bits unless it is told not to."""
    seen: list[bool] = []

    def look(*_: object) -> None:
        seen.append(all(getattr(place, name) == exact for place, name, exact in exact_settings()))

    backbone, encoder = Tiny(), (Standing if standing else Encoder)(Store(tmp_path))
    for module in (backbone.image_trunk, backbone.text_trunk, backbone.image_head, backbone.text_head):
        module.register_forward_hook(look)
    head(backbone, "text", encoder.texts(backbone, ["a dog", "two cats"]))
    head(backbone, "image", encoder.pictures(backbone, Pictures([blob(1)]), decode))
    assert len(seen) >= 4
    assert all(seen)
    assert not all(getattr(place, name) == exact for place, name, exact in exact_settings()), "only while it lasts"
