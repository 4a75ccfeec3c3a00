"""Batches too large for memory, or for one process: the gradients are those of the whole batch all the same."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from picdesk.errors import ConfigError
from picdesk.training.adaptation import Full
from picdesk.training.chunks import embed_in_chunks
from picdesk.training.losses import InfoNCE
from tests.conftest import PROJECT
from tests.training import models, pixels, ranks


@pytest.mark.parametrize("library", ["open_clip", "transformers"])
@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_give_the_gradients_of_the_whole_batch(library: str, chunk: int) -> None:
    start = models.make(library).double().requires_grad_(True)
    images, tokens = models.batch(start)
    raw = (images * 40 + 100).clamp(0, 255).to(torch.uint8)

    def gradients(again: bool) -> dict[str, torch.Tensor]:
        backbone = copy.deepcopy(start)
        backbone.image_head = nn.Sequential(nn.Dropout(0.3), backbone.image_head).train()
        torch.manual_seed(0)  # both draw their dropout chunk by chunk
        parts = [{"pixels": part} for part in (raw.split(chunk) if not again else [raw])]
        u = torch.cat([embed_in_chunks(backbone, "image", part, chunk if again else 0) for part in parts])
        v = embed_in_chunks(backbone, "text", tokens, chunk if again else 0)
        InfoNCE()(u, v, torch.arange(len(u)), backbone.logit_scale).backward()
        return {name: value.grad for name, value in backbone.named_parameters() if value.grad is not None}

    whole, parts = gradients(again=False), gradients(again=True)
    assert set(whole) == set(parts)
    assert len(whole) > 40
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-9, rtol=1e-7, msg=name)


def test_no_more_than_a_chunk_goes_through_a_trunk_at_a_time() -> None:
    backbone = models.make("open_clip").requires_grad_(True)
    images, _ = models.batch(backbone)
    seen: list[int] = []
    backbone.image_trunk.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    u = embed_in_chunks(backbone, "image", {"pixels": (images * 40 + 100).clamp(0, 255).to(torch.uint8)}, 2)
    assert seen == [2, 2]
    u.sum().backward()
    assert seen == [2, 2, 2, 2], "and once more in the backward pass"


def test_a_fit_in_chunks_ends_with_the_same_metrics(tmp_path: Path) -> None:
    def history(**settings: int) -> list[dict[str, float]]:
        return pixels.run(models.make("open_clip"), Full(), tmp_path, epochs=1, **settings).history  # type: ignore[arg-type]

    for plain, chunked in zip(history(), history(chunk=3, logits_block=3), strict=True):
        assert chunked == pytest.approx(plain, abs=1e-4)


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pixels.data_of(models.make("open_clip"), Full(), tmp_path)
    monkeypatch.setattr("picdesk.training.datamodule.place", lambda: (0, 3))
    with pytest.raises(ConfigError, match=r"training\.batch_size=8: not a multiple of the 3 processes"):
        data.train_dataloader()


def test_a_batch_larger_than_the_data_is_rounded_down_to_what_the_processes_can_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pixels.data_of(models.make("open_clip"), Full(), tmp_path, batch_size=1000)
    pairs = data.batch_size
    monkeypatch.setattr("picdesk.training.datamodule.place", lambda: (0, 5))
    data.train_dataloader()
    assert pairs % 5 != 0
    assert data.order.batch_size == pairs - pairs % 5


@pytest.mark.slow
def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.ranks"]
    both = [
        subprocess.Popen(
            [*command, str(rank), "2", str(tmp_path / "meeting"), str(tmp_path / "out.pt")],
            env=environment,
            cwd=PROJECT,
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    checked = 0
    for name in ranks.LOSSES:
        for chunk, block in ((0, 0), (2, 4)):
            for key, value in ranks.step(name, 0, 0).items():
                torch.testing.assert_close(found[f"{name}/{chunk}/{block}/{key}"], value, atol=1e-5, rtol=1e-5)
                checked += 1
    assert checked == len(found) > 60
