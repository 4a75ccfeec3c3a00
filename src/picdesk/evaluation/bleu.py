"""How near generated captions come to those of people: BLEU (Papineni et al., ACL 2002), counted by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from picdesk.errors import DataError
from picdesk.evaluation.statistics import Interval, unseen


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]], resamples: int = 1000) -> tuple[Interval, str]:
    """Corpus BLEU-4 in percent with its 95% bootstrap interval over pictures, and sacrebleu's signature.

    `references[i]` are the captions of picture i, one at least; pictures may have different numbers of them.
    """
    from sacrebleu.metrics.bleu import BLEU

    if len(captions) != len(references) or not captions:
        raise DataError(f"BLEU: {len(captions)} captions for {len(references)} pictures")
    empty = sum(not texts for texts in references)
    if empty:
        raise DataError(f"BLEU: {empty} pictures have no reference caption")
    most = max(map(len, references))
    columns = [[texts[k] if k < len(texts) else None for texts in references] for k in range(most)]
    counter = BLEU(force=True)  # captions that end in " ." are as people wrote them
    found: Any = counter.corpus_score(list(captions), cast(Any, columns), n_bootstrap=resamples)
    reach = float(found._ci)
    value = float(found.score)
    middle = float(found._mean)
    low, high = min(value, max(0.0, middle - reach)), max(value, min(100.0, middle + reach))
    if high - low < 1e-9:  # every picture has the same, so the bootstrap saw nothing to draw
        share = unseen(len(captions), 0.95)
        low, high = value - share * value, value + share * (100 - value)
    return Interval(value, low, high, digits=1), str(counter.get_signature())
