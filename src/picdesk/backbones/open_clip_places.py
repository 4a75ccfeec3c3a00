"""How long the texts were that a weights file of open_clip was trained on, where its architecture's name does not say it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picdesk.weights import held_weights, unwrap_names

log = logging.getLogger(__name__)
POSITIONS = ("positional_embedding", "text.positional_embedding")


def stretched_places(file: str | None, text: Mapping[str, Any]) -> int | None:
    """How many places of a text the weights have, where that is not what the architecture says (Long-CLIP: 248 for 77).

    The library would squeeze them into its own number unsaid. None where they agree, or the file has no such tensor.
    """
    places = places_in(Path(file)) if file is not None else None
    if places is None or places == int(text.get("context_length", 77)):
        return None
    log.info("backbone: %s was trained on texts of %d tokens, so that many are read", Path(str(file)).name, places)
    return places


def places_in(file: Path) -> int | None:
    """Rows of the text tower's positions in a weights file, looked up without reading the weights; None where it has none."""
    import torch
    from safetensors import safe_open

    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as tensors:
                names = unwrap_names({name: name for name in tensors.keys()}, POSITIONS)  # noqa: SIM118
                shapes = [tensors.get_slice(names[name]).get_shape() for name in POSITIONS if name in names]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an archive of code, which is told where it is loaded
                content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            weights = unwrap_names(held_weights(content), POSITIONS)
            shapes = [list(weights[name].shape) for name in POSITIONS if name in weights]
    except Exception:  # a damaged file is told where it is loaded
        return None
    return next((int(shape[0]) for shape in shapes if len(shape) == 2), None)
