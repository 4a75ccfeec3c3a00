"""One optimizer step of a small model over a batch, by one process or by two that share it: run by `test_large_batches`."""

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from picdesk.training.batch_order import Batches, EveryText
from picdesk.training.chunks import embed_in_chunks
from picdesk.training.features import Relevant
from picdesk.training.losses import Contrastive, InfoNCE, Margin, Mixture, SigLIP
from tests.embedding.fakes import Tiny

PAIRS = 12
LOSSES: dict[str, Contrastive] = {
    "infonce": InfoNCE(),
    "margin": Margin(0.5, "hardest"),
    "siglip": SigLIP(),
    "mixture": Mixture([InfoNCE(), Margin(0.5)], [1.0, 0.3]),
}


class Step(nn.Module):
    """What one training step computes."""

    def __init__(self, loss: Contrastive, chunk: int) -> None:
        super().__init__()
        self.backbone, self.loss, self.chunk = Tiny().requires_grad_(True), loss, chunk

    def forward(
        self, pixels: torch.Tensor, counts: torch.Tensor, picture: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        u = embed_in_chunks(self.backbone, "image", {"pixels": pixels}, self.chunk)
        v = embed_in_chunks(self.backbone, "text", {"counts": counts}, self.chunk)
        value: torch.Tensor = self.loss(u, v, picture, self.backbone.logit_scale, text)
        return value


def batch() -> tuple[torch.Tensor, ...]:
    """Pixels, letter counts, pictures and texts of the whole batch; two pairs of rows share a picture."""
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (PAIRS, 3, 4, 4), generator=generator, dtype=torch.uint8)
    counts = torch.randint(0, 5, (PAIRS, 26), generator=generator).float()
    return pixels, counts, torch.tensor([0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9]), torch.arange(PAIRS)


def step(name: str, chunk: int, block: int) -> dict[str, torch.Tensor]:
    """The weights after one step on the rows that are this process's share."""
    loss = copy.deepcopy(LOSSES[name])
    loss.block = block
    loss.relevant = Relevant(
        np.array([[0, 3], [2, 9], [11, 0], [11, 7]]), PAIRS
    )  # within and across what processes have
    module: Any = Step(loss, chunk)
    order = torch.Generator().manual_seed(0)
    ((_, rows),) = list(Batches(EveryText(PAIRS, order), order, PAIRS))
    wrapped = DistributedDataParallel(module, find_unused_parameters=True) if dist.is_initialized() else module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    wrapped(*(side[rows] for side in batch())).backward()
    optimizer.step()
    return {name: value.detach() for name, value in module.named_parameters()}


def main(rank: int, processes: int, meeting: str, out: str) -> None:
    """All cases as one of several processes; the first writes the weights."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    found = {
        f"{name}/{chunk}/{block}/{key}": value
        for name in LOSSES
        for chunk, block in ((0, 0), (2, 4))
        for key, value in step(name, chunk, block).items()
    }
    if rank == 0:
        torch.save(found, Path(out))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
