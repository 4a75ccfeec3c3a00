"""From a run to a reranked run: the scores of each reranker at work, made once and kept, and the fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from picdesk.errors import ConfigError
from picdesk.interfaces import Fusion, RerankContext
from picdesk.retrieval.rerank_scores import Part, scores_of
from picdesk.retrieval.tools import Tools
from picdesk.search.fusion import Single, check_weights
from picdesk.text.given import number_from
from picdesk.trec.runs import Run


@dataclass(frozen=True)
class Reranking:
    """Rerankers with their weights, and the fusion that mixes their scores with those of the search."""

    parts: Sequence[Part] = ()
    fusion: Fusion = field(default_factory=Single)

    def apply(self, run: Run, context: RerankContext, tools: Tools | None) -> Run:
        """The run after reranking and fusion; the run itself where every weight is 0. Rerankers of weight 0 are not asked."""
        parts = [part for part in self.parts if part.weight]
        if not parts:
            return run
        scores = [scores_of(part, run, context, tools) for part in parts]
        return self.fusion.fuse(run, scores, [part.weight for part in parts])

    @property
    def active(self) -> bool:
        """Whether any reranker has a share in the order."""
        return any(part.weight for part in self.parts)

    def with_weights(self, weights: Mapping[str, float]) -> Reranking:
        """The same rerankers with other weights. Raises `ConfigError` for an unknown name or an impossible weight."""
        known = [part.name for part in self.parts]
        if not isinstance(weights, Mapping):
            raise ConfigError(f"weights={weights!r}: a table is needed, such as {{'captions': 0.2}}")
        unknown = sorted(str(name) for name in set(weights) - set(known))
        if unknown:
            raise ConfigError(f"rerankers: {', '.join(unknown)}: this system has {', '.join(known) or 'none'}")
        new = {name: number_from(f"weights.{name}", weight, "a number") for name, weight in weights.items()}
        parts = [replace(part, weight=new.get(part.name, part.weight)) for part in self.parts]
        check_weights([part.weight for part in parts])
        return replace(self, parts=parts)
