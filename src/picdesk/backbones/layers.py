"""Where in a trunk a weight stands: how many of its blocks lie above. Works on towers of any library, by their structure."""

from __future__ import annotations

import re

from torch import nn

STAGE = re.compile(r"layer\d+")  # the stages of a ResNet are children of their own: layer1, layer2, ...

SIDE_BY_SIDE = "trunks"  # a list of whole towers, not of blocks


def chains(trunk: nn.Module) -> list[list[str]]:
    """The names of each chain of blocks, bottom first; more than one where towers stand side by side.

    A chain is a list of modules with parts of their own (transformer layers, residual or inverted residual blocks).
    """
    found: list[list[str]] = []

    def look(module: nn.Module, name: str) -> None:
        children = [(f"{name}.{key}" if name else key, key, child) for key, child in module.named_children()]
        stages = [(full, child) for full, key, child in children if STAGE.fullmatch(key)]
        if len(stages) > 1:
            found.append([block for full, child in stages for block in flattened(child, full)])
            return
        for full, key, child in children:
            if key != SIDE_BY_SIDE and is_chain(child):
                found.append(flattened(child, full))
            else:
                look(child, full)

    look(trunk, "")
    return found


def is_chain(module: nn.Module) -> bool:
    """Whether a module is a list of at least two parts that themselves have parts with weights."""
    parts = list(module.children())
    composed = all(any(True for _ in part.children()) and any(True for _ in part.parameters()) for part in parts)
    return isinstance(module, nn.ModuleList | nn.Sequential) and len(parts) > 1 and composed


def flattened(module: nn.Module, name: str) -> list[str]:
    """Names of the blocks in a list of blocks, or in a list of lists of them."""
    names: list[str] = []
    for key, child in module.named_children():
        full = f"{name}.{key}"
        inner = isinstance(child, nn.ModuleList | nn.Sequential) and all(
            any(True for _ in part.children()) for part in child.children()
        )
        names += flattened(child, full) if inner else [full]
    return names


def levels(trunk: nn.Module) -> dict[str, int]:
    """For each parameter by name: 0 above the last block, 1 in the last block, and so on down; below the first, one more.

    What is registered after the blocks stands above them (final norms, pooling), except embedding tables. A trunk without
    blocks is all 0.
    """
    order = [name for name, _ in trunk.named_parameters()]
    stacks = chains(trunk)
    tables = {name for name, module in trunk.named_modules() if isinstance(module, nn.Embedding)}
    inside = {block: (stack, place) for stack in stacks for place, block in enumerate(stack)}
    found: dict[str, int] = {}
    last = {id(stack): max(i for i, name in enumerate(order) if is_in(name, stack)) for stack in stacks}
    for i, name in enumerate(order):
        own = next((inside[block] for block in prefixes(name) if block in inside), None)
        if own:
            found[name] = len(own[0]) - own[1]
            continue
        if not stacks:
            found[name] = 0
            continue
        near = max(stacks, key=lambda stack: shared(name, stack[0]))
        above = i > last[id(near)] and name.rpartition(".")[0] not in tables
        found[name] = 0 if above else len(near) + 1
    return found


def prefixes(name: str) -> list[str]:
    """`a.b.c` to `a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def is_in(name: str, blocks: list[str]) -> bool:
    """Whether a parameter belongs to one of the blocks."""
    return any(name.startswith(f"{block}.") for block in blocks)


def shared(one: str, other: str) -> int:
    """How many parts two dotted names have in common at their start."""
    return sum(a == b for a, b in zip(prefixes(one), prefixes(other), strict=False))
