"""In which order a tower uses its weights, and whether levels follow it. Works on towers on the `meta` device, of any size."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from picdesk.backbones.depth import differentiable, parameters_behind, tensors_in
from picdesk.backbones.layers import chains


class FirstUse(TorchFunctionMode):
    """Takes down in which order the parameters of a module are first used, and with `graph` what each use was computed from."""

    def __init__(self, trunk: nn.Module, graph: bool = False) -> None:
        super().__init__()
        self.names = {id(value): name for name, value in trunk.named_parameters()}
        self.waiting, self.graph = set(self.names), graph
        self.order: list[str] = []
        self.before: dict[str, set[str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "__get__":  # asking for its type or shape is no use
            return made
        for value in parameters_in([*args, *(kwargs or {}).values()]):
            if id(value) not in self.waiting:
                continue
            self.waiting.discard(id(value))
            self.order.append(self.names[id(value)])
            if self.graph:
                behind = parameters_behind(tensors_in(made)) & set(self.names)
                self.before[self.order[-1]] = {self.names[key] for key in behind}
        return made


def parameters_in(values: Sequence[Any]) -> Iterator[nn.Parameter]:
    """The parameters among arguments, also in lists of them (recurrent layers)."""
    for value in values:
        if isinstance(value, nn.Parameter):
            yield value
        elif isinstance(value, list | tuple):
            yield from parameters_in(value)


def parameters_used(trunk: nn.Module, run: Callable[[], object]) -> list[str]:
    """Names of the parameters in the order of their first use."""
    with torch.no_grad(), FirstUse(trunk) as seen:
        run()
    return seen.order


def rises(trunk: nn.Module, found: dict[str, int], run: Callable[[], object]) -> list[tuple[str, int, str, int]]:
    """Weights with a higher level than one that they are computed after: neighbours in the forward order, and where a tower has
    branches, so that the order of the calls is not that of the data, pairs of which one stands on the other."""
    order = parameters_used(trunk, run)
    if all(found[b] <= found[a] for a, b in pairwise(order)):
        return []
    with differentiable(trunk), FirstUse(trunk, graph=True) as seen:
        run()
    return [(a, found[a], b, found[b]) for b, before in seen.before.items() for a in before if found[b] > found[a]]


def assert_falls(trunk: nn.Module, found: dict[str, int], run: Callable[[], object], branches: bool = False) -> None:
    """No rise on the way from the input to the output; the first weight lies below all blocks; no level is left out, and there
    are as many as blocks, unless chains of blocks stand beside each other (`branches`)."""
    order = parameters_used(trunk.eval(), run)
    assert len(order) > 0.5 * len(found)
    assert rises(trunk, found, run) == []
    blocks = sum(len(chain) for chain in chains(trunk))
    assert blocks > 0
    assert branches or max(found.values()) >= blocks
    first = order[0].split(".")[:2] if branches else []  # of chains beside each other one can be the longer
    assert found[order[0]] == max(level for name, level in found.items() if name.split(".")[: len(first)] == first)
    assert set(range(1, max(found.values()) + 1)) <= set(found.values())


def picture(trunk: nn.Module, size: int, device: str = "cpu") -> Callable[[], object]:
    return lambda: trunk(torch.zeros(1, 3, size, size, device=device))
