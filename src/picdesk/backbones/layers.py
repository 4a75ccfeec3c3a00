"""Where in a trunk a weight stands: how many of its blocks lie above. Works on towers of any library, by their structure."""

from __future__ import annotations

import re
from collections import Counter

from torch import nn

from picdesk.backbones.depth import Run, behind_each, from_the_top, picture_for

STAGE = re.compile(
    r"(layer|stage|s)_?\d+"
)  # stages as children of their own: layer1, ... of a ResNet, s1, ... of a RegNet

SIDE_BY_SIDE = "trunks"  # a list of whole towers, not of blocks


def chains(trunk: nn.Module) -> list[list[str]]:
    """The names of each chain of blocks, bottom first; more than one where towers stand side by side.

    A chain is a list of modules with parts of their own (transformer layers, residual or inverted residual blocks).
    """
    found: list[list[str]] = []

    def look(module: nn.Module, name: str) -> None:
        children = [(f"{name}.{key}" if name else key, key, child) for key, child in module.named_children()]
        stages = [(full, child) for full, key, child in children if STAGE.fullmatch(key) and has_parts(child)]
        if len(stages) > 1:
            found.append([block for full, child in stages for block in flat_block_names(child, full)])
            return
        for full, key, child in children:
            if key != SIDE_BY_SIDE and is_chain(child):
                found.append(flat_block_names(child, full))
            else:
                look(child, full)

    look(trunk, "")
    return found


def has_parts(module: nn.Module) -> bool:
    """Whether the parts of a module have parts themselves: a stage of blocks, not a layer."""
    return any(any(True for _ in part.children()) for part in module.children())


def is_chain(module: nn.Module) -> bool:
    """Whether a module is a list of at least two parts that themselves have parts with weights."""
    parts = list(module.children())
    composed = all(any(True for _ in part.children()) and any(True for _ in part.parameters()) for part in parts)
    return isinstance(module, nn.ModuleList | nn.Sequential) and len(parts) > 1 and composed


def flat_block_names(module: nn.Module, name: str) -> list[str]:
    """Names of the blocks in a list of blocks, or in a list of lists of them."""
    names: list[str] = []
    for key, child in module.named_children():
        full = f"{name}.{key}"
        inner = isinstance(child, nn.ModuleList | nn.Sequential) and all(
            any(True for _ in part.children()) for part in child.children()
        )
        names += flat_block_names(child, full) if inner else [full]
    return names


def levels(trunk: nn.Module, run: Run | None = None) -> dict[str, int]:
    """For each parameter by name: 0 above the last block, 1 in the last block, and so on down; below the first, one more.

    What stands on what is seen in one forward pass, `run` (None: of a grey picture); levels never rise along the way from the
    input to the output, and towers side by side are counted each for itself. What stands between two blocks belongs to the upper
    one, what several blocks share to the lowest of them, what nothing is computed from is 0. A trunk without blocks is all 0.
    """
    own = dict(trunk.named_parameters())
    blocks = [block for chain in chains(trunk) for block in chain]
    if not blocks:
        return dict.fromkeys(own, 0)
    whole = {block: {id(value) for value in trunk.get_submodule(block).parameters()} for block in blocks}
    parts = own_parts(whole)
    behind = behind_each(trunk, blocks, run or picture_for(trunk))
    if behind is None:
        return as_registered(trunk, blocks)
    level = from_the_top(behind, parts)
    lowest = {
        block for block, ids in behind.items() if not any(ids & parts[other] for other in parts if other != block)
    }
    found: dict[str, int] = {}
    for name, value in own.items():
        inside = max((level[block] for block, ids in whole.items() if id(value) in ids), default=0)
        above = [block for block, ids in behind.items() if id(value) in ids]
        deepest = max(above, key=level.__getitem__, default=None)
        found[name] = inside or (0 if deepest is None else level[deepest] + (deepest in lowest))
    return found


def own_parts(parts: dict[str, set[int]]) -> dict[str, set[int]]:
    """Of the weights of each block those that are no other's: blocks that share weights (CoaT's positions) would seem to stand
    on each other. A block that has none of its own keeps all.
    """
    seen = Counter(key for ids in parts.values() for key in ids)
    return {name: {key for key in ids if seen[key] == 1} or ids for name, ids in parts.items()}


def as_registered(trunk: nn.Module, blocks: list[str]) -> dict[str, int]:
    """The same where no forward pass can be seen: all blocks are one chain in the order in which they are registered.

    What is registered after the blocks stands above them (final norms, pooling), except embedding tables.
    """
    order = [name for name, _ in trunk.named_parameters()]
    begin = [min(i for i, name in enumerate(order) if name.startswith(f"{block}.")) for block in blocks]
    ranked = [block for _, block in sorted(zip(begin, blocks, strict=True))]
    level = {block: len(ranked) - place for place, block in enumerate(ranked)}
    tables = {name for name, module in trunk.named_modules() if isinstance(module, nn.Embedding)}
    last = max(i for i, name in enumerate(order) if any(name.startswith(f"{block}.") for block in blocks))
    found: dict[str, int] = {}
    for i, name in enumerate(order):
        inside = next((block for block in prefixes(name) if block in level), None)
        begun = sum(start <= i for start in begin)
        outside = len(blocks) + 1 if begun == 0 or name.rpartition(".")[0] in tables else len(blocks) - begun + 1
        found[name] = level[inside] if inside else 0 if i > last and outside <= len(blocks) else outside
    return found


def prefixes(name: str) -> list[str]:
    """`a.b.c` to `a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]
