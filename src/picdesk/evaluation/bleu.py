"""How near generated captions come to those of people: BLEU (Papineni et al., ACL 2002), counted by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from picdesk.errors import DataError
from picdesk.evaluation.statistics import RESAMPLES, Interval, percentiles, resample_sums

MOST = 100.0  # sacrebleu's own rounding goes beyond it


def bleu(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Interval, str]:
    """Corpus BLEU-4 in percent with its interval, by bootstrap over pictures, and sacrebleu's signature.

    `references[i]` are the captions of picture i, one at least; pictures may have different numbers of them.
    Raises `DataError` where there are none, or for a picture without any.
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
    value = min(MOST, float(counter.corpus_score(list(captions), cast(Any, columns)).score))
    single = BLEU(force=True, effective_order=True)  # of one picture only what is counted is taken
    each = [single.sentence_score(said, list(texts)) for said, texts in zip(captions, references, strict=True)]
    counts = np.array([[one.sys_len, one.ref_len, *one.counts, *one.totals] for one in each], np.float64)
    drawn = resample_sums({"counts": counts}, resamples, seed)["counts"].astype(np.int64).tolist()
    orders = counter.max_ngram_order
    scores = [
        BLEU.compute_bleu(row[2 : 2 + orders], row[2 + orders :], row[0], row[1], counter.smooth_method).score
        for row in drawn
    ]
    span = percentiles(value, np.minimum(scores, MOST), level, len(captions), (0.0, MOST))
    return Interval(span.value, span.low, span.high, digits=1), str(counter.get_signature())
