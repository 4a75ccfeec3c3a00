"""How long the texts were that a weights file of open_clip was trained on, where its architecture's name does not say it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
                shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys() if name in POSITIONS}  # noqa: SIM118
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an archive of code, which is told where it is loaded
                content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            content = content.get("state_dict", content)
            shapes = {
                name: list(content[f"{start}{name}"].shape)
                for name in POSITIONS
                for start in ("", "module.")
                if f"{start}{name}" in content
            }
    except Exception:  # a damaged file is told where it is loaded
        return None
    return next((int(shape[0]) for shape in shapes.values() if len(shape) == 2), None)
