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
    was before the first of them. What runs inside may ask torch for its settings by any of their names."""
    own = object()
    with _turn:
        if not _inside:
            settings = exact_settings()
            _before.extend((place, name, getattr(place, name)) for place, name, _ in settings)
            write_settings(settings)
        _inside.append(own)
    try:
        yield
    finally:
        with _turn:
            _inside.remove(own)
            if not _inside:
                write_settings(_before)
                _before.clear()


def write_settings(settings: list[tuple[Any, str, Any]]) -> None:
    """Set attributes of objects to values, in this order: a former name of torch's sets the newer ones as well."""
    for place, name, value in settings:
        setattr(place, name, value)


class Former:
    """Torch's settings by their names of before 2.9, which it keeps beside the newer ones: a model's own code that reads one, or
    enters `torch.backends.cudnn.flags()`, has an error of torch where the two do not agree.

    Where they do not agree already, nobody has used the former ones, most likely, and they are as torch begins.
    """

    @property
    def products(self) -> str:
        """`highest` (float32), `high` or `medium`."""
        import torch

        try:
            return torch.get_float32_matmul_precision()
        except RuntimeError:
            return "highest"

    @products.setter
    def products(self, value: str) -> None:
        import torch

        torch.set_float32_matmul_precision(value)

    @property
    def convolutions(self) -> bool:
        """Whether cuDNN may take TF32."""
        import torch

        try:
            return bool(torch.backends.cudnn.allow_tf32)
        except RuntimeError:
            return True

    @convolutions.setter
    def convolutions(self, value: bool) -> None:
        import torch

        torch.backends.cudnn.allow_tf32 = value


def exact_settings() -> list[tuple[Any, str, Any]]:
    """Torch's settings as object, attribute and value, in the order in which they are to be set: by the former names, and by
    those of 2.9 and later where it has them."""
    import torch

    backends, former = torch.backends, Former()
    settings: list[tuple[Any, str, Any]] = [(former, "products", "highest"), (former, "convolutions", False)]
    if hasattr(backends.cuda.matmul, "fp32_precision"):
        libraries: list[Any] = [backends.cudnn, backends.mkldnn]
        # cuDNN's own is what holds after its `flags`
        places = [libraries[0], backends.cuda.matmul, libraries[1].matmul]
        places += [kind for library in libraries for kind in (library.conv, library.rnn)]
        settings += [(place, "fp32_precision", "ieee") for place in places]
    return settings
