"""What in a trunk stands on what, seen in one forward pass instead of guessed from the order in which parts are registered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

log = logging.getLogger(__name__)
Run = Callable[[], object]


def parameters_behind(values: Iterable[torch.Tensor]) -> set[int]:
    """`id` of every parameter that the tensors were computed from, by autograd's graph."""
    found: set[int] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [value.grad_fn for value in values]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.add(id(getattr(node, "variable", None)))
        waiting += [before for before, _ in node.next_functions]
    return found


def behind_each(trunk: nn.Module, blocks: Sequence[str], run: Run) -> dict[str, set[int]] | None:
    """For each block, by name, the `id` of the parameters that its output was computed from: its own and those below it.

    None where one forward pass (`run`) does not show it: it fails, or does not call each block.
    """
    modules = dict(trunk.named_modules())
    behind: dict[str, set[int]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            behind.setdefault(name, parameters_behind(tensors_in(output)))

        return hook

    with ExitStack() as stack:
        for name in blocks:
            stack.callback(modules[name].register_forward_hook(note(name)).remove)
        stack.enter_context(differentiable(trunk))
        try:
            run()
        except Exception as error:  # whatever a library's tower raises at an example that does not suit it
            log.debug("levels: %s", error)
            return None
    return behind if len(behind) == len(blocks) else None


@contextmanager
def differentiable(trunk: nn.Module) -> Iterator[None]:
    """All weights take part in the graph and nothing is drawn or counted; afterwards the trunk is as it was."""
    training = [(module, module.training) for module in trunk.modules()]
    frozen = [value for value in trunk.parameters() if not value.requires_grad]
    trunk.eval()
    try:
        for value in frozen:
            value.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for value in frozen:
            value.requires_grad_(False)
        for module, was in training:
            module.training = was


def tensors_in(output: object) -> Iterator[torch.Tensor]:
    """The tensors of what a module gives: alone, in a tuple, in a record."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from tensors_in(value)


def from_the_top(behind: Mapping[str, set[int]], own: Mapping[str, set[int]]) -> dict[str, int]:
    """The level of each block: 1 where no other stands on it, else one more than the highest level of those that do."""
    below = {name: [other for other in own if other != name and own[other] & ids] for name, ids in behind.items()}
    found = dict.fromkeys(own, 1)
    for name in sorted(own, key=lambda name: -len(below[name])):  # what has most below it stands highest
        for other in below[name]:
            found[other] = max(found[other], found[name] + 1)
    return found


def picture_for(trunk: nn.Module) -> Run:
    """A forward pass of a picture tower that nothing else is known of: one grey picture of the size that its parts name."""
    sizes = [getattr(part, name, None) for part in trunk.modules() for name in ("image_size", "img_size")]
    named = next((size for size in sizes if size is not None), 224)
    height, width = (int(named),) * 2 if isinstance(named, int) else (int(named[0]), int(named[1]))
    return lambda: trunk(torch.zeros(1, 3, height, width))
