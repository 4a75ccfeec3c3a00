"""Indexes that compress the vectors. What compressing loses, looking again at the best (refining) gives back."""

from collections.abc import Mapping
from typing import Any

from picdesk.errors import ConfigError
from picdesk.parts import config_part
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.indexes import IvfFlatIndex, need_positive

REFINE_FACTORS = (2, 4, 8, 16, 32, 64, 128)
"""How many times `top_k` candidates are looked at again, from little to much."""


@config_part
class IvfPqIndex(IvfFlatIndex):
    """Inverted lists of product-quantised vectors (Jegou et al., 2011), rotated first (OPQ, Ge et al., 2013), then refined.

    `code_bytes` a vector; `rotate` learns the rotation; `refine` is how the vectors are kept for looking again at the best
    `refine_factor * top_k`: `Flat`, `SQ8`, `SQ4`, None for not at all, or any other text of faiss's, such as `OPQ64_320,SQ8`
    (turned, so that 320 dimensions hold nearly all there is to tell, a byte each).
    """

    kind = "ivf_pq"

    def __init__(
        self,
        lists: int | None = None,
        probes: int = 16,
        code_bytes: int = 64,
        rotate: bool = True,
        refine: str | None = "SQ8",
        refine_factor: float = 10,
    ) -> None:
        need_positive(code_bytes=code_bytes, refine_factor=refine_factor)
        super().__init__(lists, probes)
        self.recipe |= {"code_bytes": code_bytes, "rotate": rotate, "refine": refine}
        self.settings |= {"k_factor_rf": refine_factor} if refine else {}

    def factory_for(self, count: int, dim: int) -> str:
        """faiss's text."""
        turn = f"OPQ{self.recipe['code_bytes']}," if self.recipe["rotate"] else ""
        # np: no polysemous training, which takes fifty times as long and serves a search that nobody asks for here
        return (
            f"{turn}IVF{self.lists_for(count)},PQ{self.recipe['code_bytes']}np{_refine_suffix(self.recipe['refine'])}"
        )

    def ladders(self, count: int) -> list[list[dict[str, float]]]:
        """nprobe as for whole vectors, with a little and with much refinement."""
        (probes,) = super().ladders(count)
        factors: list[dict[str, float]] = [{}]
        if self.recipe["refine"]:
            factors = [{"k_factor_rf": factor} for factor in REFINE_FACTORS]
        return [[step | factor for step in probes] for factor in factors]


@config_part
class IvfPqFastScanIndex(IvfPqIndex):
    """Inverted lists of 4-bit codes, compared many at a time in registers (Andre et al., 2015): quick, coarse, refined.

    `code_dims` dimensions share a code of 4 bits; the other arguments as in `ivf_pq`.
    """

    kind = "ivf_pq_fastscan"

    def __init__(
        self,
        lists: int | None = None,
        probes: int = 16,
        code_dims: int = 2,
        refine: str | None = "SQ8",
        refine_factor: float = 10,
    ) -> None:
        need_positive(code_dims=code_dims)
        super().__init__(lists, probes, refine=refine, refine_factor=refine_factor)
        self.recipe = {"lists": lists, "code_dims": code_dims, "refine": refine}

    def factory_for(self, count: int, dim: int) -> str:
        """faiss's text."""
        return f"IVF{self.lists_for(count)},{_codes_text(self.recipe, dim)}"


@config_part
class PqFastScanIndex(FaissIndex):
    """All items by their 4-bit codes, no lists, then the best `refine_factor * top_k` by their vectors."""

    kind = "pq_fastscan"

    def __init__(self, code_dims: int = 2, refine: str | None = "Flat", refine_factor: float = 10) -> None:
        need_positive(code_dims=code_dims, refine_factor=refine_factor)
        super().__init__({"code_dims": code_dims, "refine": refine}, {"k_factor_rf": refine_factor} if refine else {})

    def factory_for(self, count: int, dim: int) -> str:
        """faiss's text."""
        return _codes_text(self.recipe, dim)

    def ladders(self, count: int) -> list[list[dict[str, float]]]:
        """More and more refinement."""
        return [[{"k_factor_rf": factor} for factor in REFINE_FACTORS]] if self.recipe["refine"] else [[{}]]


def _codes_text(recipe: Mapping[str, Any], dim: int) -> str:
    if dim % recipe["code_dims"]:
        raise ConfigError(f"index.code_dims={recipe['code_dims']}: it must divide the dimension, {dim}")
    return f"PQ{dim // recipe['code_dims']}x4fs{_refine_suffix(recipe['refine'])}"


def _refine_suffix(how: str | None) -> str:
    return {None: "", "Flat": ",RFlat"}.get(how, f",Refine({how})")
