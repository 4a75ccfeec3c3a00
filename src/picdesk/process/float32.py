"""Float32 that is computed in float32: on every device, and whatever a process allows itself.

On a GPU torch takes TF32 for convolutions and recurrent layers unless it is told otherwise, and for matrix products where it is
allowed to (`torch.set_float32_matmul_precision`, which Lightning advises). TF32 has ten bits behind the point, float32 has 23.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_turn = threading.Lock()
_inside: list[object] = []
_before: list[tuple[Any, str, Any]] = []


@contextmanager
def true_float32() -> Iterator[None]:
    """Products, convolutions and recurrent layers of float32 tensors in float32 while it lasts, in all threads; afterwards as it
    was before the first of them."""
    own = object()
    with _turn:
        if not _inside:
            for place, name, exact in exact_settings():
                _before.append((place, name, getattr(place, name)))
                setattr(place, name, exact)
        _inside.append(own)
    try:
        yield
    finally:
        with _turn:
            _inside.remove(own)
            if not _inside:
                while _before:
                    setattr(*_before.pop())


def exact_settings() -> list[tuple[Any, str, Any]]:
    """Torch's settings as object, attribute and value: by the names of 2.9 and later, which refuses to tell of both, else the
    former ones."""
    import torch

    backends: Any = torch.backends
    if hasattr(backends.cuda.matmul, "fp32_precision"):
        places = [backends.cuda.matmul, backends.mkldnn.matmul]
        places += [kind for library in (backends.cudnn, backends.mkldnn) for kind in (library.conv, library.rnn)]
        return [(place, "fp32_precision", "ieee") for place in places]
    return [(backends.cuda.matmul, "allow_tf32", False), (backends.cudnn, "allow_tf32", False)]
