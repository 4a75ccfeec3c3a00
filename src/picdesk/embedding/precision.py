"""What `encode.precision` and `encode.engine` stand for: which trunk computes in bf16, and what is said of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TypedDict

import torch

from picdesk.interfaces import Backbone, Modality

log = logging.getLogger(__name__)
SIDES: tuple[Modality, ...] = ("image", "text")
AUTO = "auto"
MEASURED = "bf16_measured"
"""Pictures in bf16 by trunks whose drift was measured (`DRIFT`), with torch and full decoding; by others, and all texts, in fp32.
In bf16 a picture alone has nearly the features that it has among others (cosine 1.00000); a text has not, and costs little."""
PRECISIONS = ("fp32", "bf16", MEASURED, AUTO)
MIXED = "bf16 pictures, fp32 texts"
DRIFT = {
    "a88c55fa44c1d5386f30e8cd0933803cfeb90e462af21d54250aa726d883c188": "lite by at most 0.005",
    "3b0db1d581856a73d6fcf676cd3c487706098b03c386b8c0a4ceec980a3ffb09": "lite2 by at most 0.004",
}
"""What bf16 of pictures moved of hits@1 on Flickr8k against fp32, by the fingerprint of the picture trunk, as `bench/drift.py`
found: less than half the interval of hits@1 of 1,000 pictures and their 5,000 captions, both ways; the tests hold it against the
pages of bench/results. A trunk measured later needs another name than `bf16_measured`, by which saved configs mean these."""

UNKNOWN = "what that moves with this model was not measured"
WITH_DRAFTS = "what that moves beside fast_decode was measured"


class Preparation(TypedDict):
    """What a trunk is made ready for."""

    precision: str
    fused: bool
    engine: str
    folded: bool


@dataclass
class Arithmetic:
    """How trunks compute: `precision`, one of `PRECISIONS` but auto; `engine`, torch or openvino; on which device."""

    precision: str
    engine: str
    device: str = "cpu"
    fast_decode: bool = False
    _told: set[str] = field(default_factory=set)

    def of(self, backbone: Backbone, modality: Modality) -> str:
        """fp32 or bf16: what the trunk of one side computes in."""
        if self.precision != MEASURED:
            return self.precision
        may = modality == "image" and self.engine == "torch" and not self.fast_decode
        return "bf16" if may and backbone.trunk_fingerprint("image") in DRIFT else "fp32"

    @property
    def by_trunk(self) -> tuple[str, ...]:
        """What the words for one trunk do not tell of another's: the setting, and that norms are folded in bf16, which they once
        were not; nothing where all compute alike."""
        own = self.engine == "torch" and self.precision != "fp32"
        return (self.precision, "folded") if own else ()

    @property
    def texts(self) -> str:
        """fp32 or bf16: what text trunks compute in, whatever the backbone."""
        return "fp32" if self.precision == MEASURED else self.precision

    def of_both(self, backbone: Backbone) -> str:
        """What both trunks compute in, in words where they differ."""
        image, text = (self.of(backbone, side) for side in SIDES)
        return image if image == text else MIXED

    def words(self, backbone: Backbone, *sides: Modality) -> str:
        """How features of these sides (none given: of both) are computed: engine (torch unsaid), precision, `fused` where a
        trunk's branches are and `folded` where its norms are. Where that differs, digits do, so it is part of whatever names
        features, vectors and scores."""
        fused = any(side in backbone.fused_towers for side in sides or SIDES)
        folded = any(self.folds(backbone, side) for side in sides or SIDES)
        precision = self.of(backbone, sides[0]) if len(sides) == 1 else self.of_both(backbone)
        words = (
            "" if self.engine == "torch" else self.engine,
            precision,
            "fused" if fused else "",
            "folded" if folded else "",
        )
        return " ".join(word for word in words if word)

    def folds(self, backbone: Backbone, modality: Modality) -> bool:
        """Whether the norms of a trunk are folded into its convolutions: in bf16; OpenVINO does so by itself."""
        own = modality in backbone.folded_towers and self.engine == "torch"
        return own and self.of(backbone, modality) == "bf16"

    def preparation(self, backbone: Backbone, modality: Modality) -> Preparation:
        """How the trunk of one side is made ready (see `forward.prepare_trunk`)."""
        return {
            "precision": self.of(backbone, modality),
            "fused": modality in backbone.fused_towers,
            "engine": self.engine,
            "folded": self.folds(backbone, modality),
        }

    def input_type(self, backbone: Backbone, modality: Modality) -> torch.dtype:
        """What a trunk takes: bf16 weights want bf16; OpenVINO takes float32 and rounds by itself."""
        own = self.engine == "torch" and self.of(backbone, modality) == "bf16"
        return torch.bfloat16 if own else torch.float32

    def tell(self, backbone: Backbone) -> None:
        """Say once where pictures are in bf16 because of what was measured, and what that moves."""
        if self.precision != MEASURED or self.of(backbone, "image") != "bf16":
            return
        key = backbone.trunk_fingerprint("image")
        if key not in self._told:
            self._told.add(key)
            here = self.device == "cpu" and has_bf16_units()
            why = (
                "for which this CPU has units"
                if here
                else f"as where this was made, though {self.device} here is no quicker in it"
            )
            log.info(
                "pictures in bf16, %s: %s, well within its error bars; encode.precision=fp32 is what every machine computes in "
                "(docs/backbones.md)",
                why,
                drift_of(key),
            )

    def tell_quicker_way(self, backbone: Backbone, count: int) -> None:
        """Say how so many pictures would be encoded in about half the time on this CPU, and at which price.

        A GPU is not told of: there decoding takes the time, whatever the precision (bench/results/gpu.md).
        """
        if (self.device, self.engine, self.of(backbone, "image")) == ("cpu", "torch", "fp32") and has_bf16_units():
            key = backbone.trunk_fingerprint("image")
            measured = key in DRIFT and not self.fast_decode
            log.info(
                "%s pictures to encode in fp32: encode.precision=%s would take about half the time here; %s (docs/backbones.md)",
                f"{count:,}",
                AUTO if measured else "bf16",
                drift_of(key) if measured else WITH_DRAFTS if key in DRIFT else UNKNOWN,
            )


def choose_precision(device: str) -> tuple[str, str]:
    """What `encode.precision=auto` stands for on a device of this machine, and why in one line."""
    if device != "cpu":
        return "fp32", f"drift was not measured on {device}, where decoding takes the time; bf16 can be named"
    if not has_bf16_units():
        return "fp32", "this CPU has no units for bf16 (AMX, AVX512-BF16), and without them it is slower"
    return MEASURED, "this CPU has units for bf16 (AMX or AVX512-BF16)"


def has_bf16_units() -> bool:
    """Whether bf16 weights pay on this CPU: it has AMX or AVX512-BF16 (autocast is slower than fp32 on CPUs)."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def drift_of(fingerprint: str) -> str:
    """What bf16 moved with the picture trunk of this fingerprint, which was measured, as part of a sentence."""
    return f"it moved hits@1 of {DRIFT[fingerprint]} on Flickr8k"
