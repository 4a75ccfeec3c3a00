"""Learning-rate schedules, as factors on the optimizer's own rate, stepped once a batch."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from picdesk.errors import ConfigError
from picdesk.parts import config_part


@config_part
class Cosine(LambdaLR):
    """Rises linearly over the first `warmup` share of the steps, then falls to zero along half a cosine."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> None:
        if not 0 <= warmup < 1:
            raise ConfigError(f"scheduler.warmup={warmup}: the share of the steps to warm up over, within [0, 1)")
        rise = round(warmup * total_steps)

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total_steps - rise)))) / 2

        super().__init__(optimizer, factor)


@config_part
class Constant(LambdaLR):
    """The rate as it is, throughout."""

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:
        super().__init__(optimizer, lambda step: 1.0)


cosine, constant = Cosine, Constant  # as they were called when they were functions
