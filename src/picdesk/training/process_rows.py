"""The rows of all processes that train together, with gradients that flow back to the process a row came from."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def place() -> tuple[int, int]:
    """This process's rank and how many processes train together: (0, 1) where one trains alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """The rows [n, ...] of every process, by rank: [processes x n, ...]. All must bring the same number."""
    if place()[1] == 1:
        return rows
    if rows.is_floating_point():
        whole: torch.Tensor = _Gather.apply(rows)
        return whole
    return _all(rows)


def _all(rows: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(rows) for _ in range(place()[1])]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Forward: all rows. Backward: of the gradients that all processes found for them, the sum for one's own rows.

    `torch.distributed.nn` has the like, but its backward pass wants an operation that gloo lacks.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.count = len(rows)
        return _all(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (total,) = gradients
        total = total.contiguous().clone()
        dist.all_reduce(total)
        first = place()[0] * ctx.count
        return total[first : first + ctx.count]
