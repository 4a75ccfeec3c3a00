"""What a tokenizer leaves of a text: whether it is cut at the context, whether anything of it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.interfaces import CUT, UNKNOWN


def flags_of(tokenizer: Any, texts: Sequence[str], most: int) -> NDArray[np.uint8]:
    """`CUT` where a text has more than `most` tokens, `UNKNOWN` where none of them stands for a part of it: [n]."""
    rows = tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    empty = set(tokenizer.all_special_ids) | {unknown}
    return np.array(
        [CUT * (len(row) > most) | UNKNOWN * all(token in empty for token in row) for row in rows], np.uint8
    )


def flags_of_open_clip(tokenizer: Any, texts: Sequence[str]) -> NDArray[np.uint8]:
    """The same by a tokenizer of open_clip: its own byte pairs, or one of the transformers library behind its cleaning."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None and hasattr(inner, "all_special_ids"):
        return flags_of(inner, [tokenizer.clean_fn(text) for text in texts], int(tokenizer.context_length))
    ids = tokenizer(list(texts)).numpy()
    found = np.where((ids[:, 2:] == 0).all(1), UNKNOWN, 0).astype(np.uint8)  # a start and an end, nothing between
    for row in np.flatnonzero(ids[:, -1]).tolist():  # only a full one can have been cut
        found[row] |= CUT * (len(tokenizer.encode(texts[row])) + 2 > ids.shape[1])
    return found
