"""What goes through the trunk together: rows cut into batches, pictures decoded ahead, texts sorted by their tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, groupby, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from picdesk.interfaces import Backbone

Inputs = dict[str, torch.Tensor]


def cut_rows(rows: list[int], size: int) -> list[list[int]]:
    """Consecutive parts of at most `size` rows."""
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def takes_turns(device: str, engine: str, workers: int) -> bool:
    """Whether decoding has to wait while a batch is on its way: where each core has a thread of torch that computes and a worker.

    Torch's threads wait for each other at every layer, all of them for one whose core was taken (two cores, bf16: 282 pictures a
    second in turn, 247 beside each other).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (device, engine) == ("cpu", "torch") and torch.get_num_threads() >= cores and workers >= cores


def ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[int], bytes],
    decode: Callable[[int, bytes], NDArray[np.uint8]],
    parts: Iterator[list[int]],
    turns: bool = False,
    depth: int = 2,
) -> Iterator[tuple[list[int], list[NDArray[np.uint8]]]]:
    """Read and decode the items of each part in the pool, `depth` parts ahead of the consumer, in order; with `turns` they are
    only read ahead, and decoded when the consumer asks."""
    waiting: list[tuple[list[int], list[Future[Any]]]] = []

    def whole(i: int) -> NDArray[np.uint8]:
        return decode(i, read(i))

    def start(count: int) -> None:
        first = read if turns else whole
        waiting.extend((part, [pool.submit(first, i) for i in part]) for part in islice(parts, count))

    try:
        start(depth)
        while waiting:
            part, futures = waiting.pop(0)
            start(1)
            found = [future.result() for future in futures]
            yield part, list(pool.map(decode, part, found)) if turns else found
    finally:
        for _, futures in waiting:
            for future in futures:
                future.cancel()


def unwritten(
    rows: list[int], features: list[NDArray[np.float32]], keys: list[bytes], is_held: Callable[[bytes], bool]
) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Of rows and features that were gathered until a signal came, between any two steps, those that fit together and are not
    held yet."""
    left = [(i, vector) for i, vector in zip(rows, chain(*features), strict=False) if not is_held(keys[i])]
    return [i for i, _ in left], [np.stack([vector for _, vector in left])] if left else []


class TextBatches:
    """Texts tokenised once, `order`ed by token length, and handed out in batches trimmed to their longest.

    Short texts beside short ones: a CLIP text is 10 to 15 tokens long, and the library's context is 77.
    """

    def __init__(self, backbone: Backbone, texts: Sequence[str], rows: list[int]) -> None:
        inputs = backbone.tokenize([texts[i] for i in rows])
        lengths = backbone.token_lengths(inputs)
        self._inputs = {name: compact(tensor) for name, tensor in inputs.items()}
        self._lengths = dict(zip(rows, lengths.tolist(), strict=True))
        self._line = {row: line for line, row in enumerate(rows)}
        self.order = sorted(rows, key=lambda i: (self._lengths[i], len(texts[i]), texts[i]))

    def length(self, row: int) -> int:
        """Tokens of one text."""
        return int(self._lengths[row])

    def __call__(self, parts: Iterator[list[int]]) -> Iterator[tuple[list[int], Inputs]]:
        """Each part with its inputs."""
        for part in parts:
            longest = max(self._lengths[i] for i in part)
            lines = torch.tensor([self._line[i] for i in part])
            yield part, {name: widen_tokens(tensor[lines, :longest]) for name, tensor in self._inputs.items()}

    def packed(self, part: list[int]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """Token ids [tokens] of a part of `order`, one text after the other without padding; and how many texts of how many
        tokens there are, in turn."""
        tokens = self._inputs["input_ids"]
        ids = torch.cat([tokens[self._line[i], : self._lengths[i]] for i in part])
        groups = [(len(list(own)), length) for length, own in groupby(part, self.length)]
        return widen_tokens(ids), groups


def compact(tokens: torch.Tensor) -> torch.Tensor:
    """Token ids in half the memory."""
    return tokens.to(torch.int32) if tokens.dtype == torch.int64 else tokens


def widen_tokens(tokens: torch.Tensor) -> torch.Tensor:
    """Token ids as trunks take them."""
    return tokens.to(torch.int64) if tokens.dtype == torch.int32 else tokens
