"""Learning-rate schedules, as factors on the optimizer's own rate, stepped once a batch."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from picdesk.errors import ConfigError


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> LambdaLR:
    """Rises linearly over the first `warmup` share of the steps, then falls to zero along half a cosine."""
    if not 0 <= warmup < 1:
        raise ConfigError(f"scheduler.warmup={warmup}: the share of the steps to warm up over, within [0, 1)")
    rise = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total_steps - rise)))) / 2

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The rate as it is, throughout."""
    return LambdaLR(optimizer, lambda step: 1.0)
