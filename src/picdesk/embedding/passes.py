"""Several batches of texts on their way through a trunk at once, each on its share of the threads.

The threads of one pass wait for each other at every layer, and a layer of a text trunk takes less than a millisecond. Two passes
on one thread each leave no core idle, and each has the digits that it has on one thread (MiniLM on two cores: 300 captions a
second for 236).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from picdesk.embedding.batches import Inputs

Features = NDArray[np.float32]
PASSES = 4
"""At most: each more holds the activations of a batch; and of a server's texts four make more than one thread can answer."""


def passes_at_once() -> int:
    """How many passes this machine has threads for."""
    return min(torch.get_num_threads(), PASSES)


def run_passes(
    forward: Callable[[Inputs], Features], parts: Iterator[tuple[list[int], Inputs]], count: int
) -> Iterator[tuple[list[int], Features]]:
    """Each part with its features [n, trunk_dim], in order; `count` of them go through `forward` at once.

    While this lasts, threads that first compute have the share of one pass; afterwards they have all again.
    """
    if count < 2:
        for part, inputs in parts:
            yield part, forward(inputs)
        return
    threads = torch.get_num_threads()

    def run(inputs: Inputs) -> Features:
        with torch.inference_mode():
            return forward(inputs)

    waiting: deque[tuple[list[int], Future[Features]]] = deque()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(max(threads // count, 1),)) as pool:
            try:
                for part, inputs in parts:
                    waiting.append((part, pool.submit(run, inputs)))
                    if len(waiting) > count:
                        done, future = waiting.popleft()
                        yield done, future.result()
                while waiting:
                    done, future = waiting.popleft()
                    yield done, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(threads)
