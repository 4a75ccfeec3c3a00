"""How a text tower may be given texts of different lengths, asked of the tower itself, and what its tokenizer leaves of a text.

A tower that leaves padding out of account (by an attention mask, or because it is causal and reads the end-of-text place) gives
a text the same feature alone, beside a longer one and filled up to the context; batches are then cut after their longest text.
A tower that reads the last place, or attends to the padding, does not: it was trained on texts filled up to the context
(SigLIP, Zhai et al. 2023), so each text is filled up and nothing is cut, whether or not its tokenizer marks the padding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.interfaces import CUT, UNKNOWN

log = logging.getLogger(__name__)
SHORT = "a dog"
LONG = "two children run over the beach with a dog, far away from the old harbour"
FILLED = 96  # tokens that show what more padding does; some contexts are thousands long
AGREE = 1e-3  # of the largest number of a feature; float32 differs by some 1e-6 between batches
PADS = ("<pad>", "[PAD]")
Side = Literal["left", "right"]
Tokens = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Padding:
    """`fill`: each text is filled up to the context, else to the longest of its batch; `side`: where the padding stands."""

    fill: bool
    side: Side

    @property
    def rule(self) -> str:
        """The tokenizer's word for it."""
        return "max_length" if self.fill else "longest"


def padding_of(trunk: nn.Module, tokenizer: Any, max_length: int, name: str) -> Padding:
    """The padding under which a text's feature depends on the text alone: the tokenizer's own side, else the right one."""
    own: Side = "left" if tokenizer.padding_side == "left" else "right"
    most = min(max_length, FILLED)
    sides: list[Side] = [own] if own == "right" else [own, "right"]
    for side in sides:
        if indifferent(trunk, partial(tokens_of, tokenizer, side, most)):
            return Padding(False, side)
    log.info("backbone: the text tower of %s reads padding: every text is filled up to %d tokens", name, max_length)
    return Padding(True, own)


def unusual_settings(tokenizer: Any, fill: bool) -> dict[str, Any]:
    """What a tokenizer of the transformers library does besides its definition, for a fingerprint: where it cuts long texts at
    their beginning, reads special tokens in a text as letters, or fills texts up (`fill`) with another token than most do."""
    found: dict[str, Any] = {}
    if getattr(tokenizer, "truncation_side", "right") != "right":
        found["cut_at"] = str(tokenizer.truncation_side)
    if getattr(tokenizer, "split_special_tokens", False):
        found["special_tokens"] = "split"
    if fill and tokenizer.pad_token not in PADS:
        found["filled_with"] = str(tokenizer.pad_token)
    return found


def tokens_of(tokenizer: Any, side: Side, max_length: int, texts: list[str], rule: str) -> dict[str, torch.Tensor]:
    """The tokenizer's tensors [n, length], at most `max_length` long."""
    options = {"padding": rule, "truncation": True, "max_length": max_length, "padding_side": side}
    return {str(name): tensor for name, tensor in tokenizer(texts, return_tensors="pt", **options).items()}


def indifferent(trunk: nn.Module, tokens: Callable[[list[str], str], Tokens]) -> bool:
    """Whether a short text's feature is the same alone, beside a long text, and filled up with padding."""
    with torch.inference_mode():
        alone, beside, full = (
            trunk(**tokens(texts, rule))[0].float()
            for texts, rule in (([SHORT], "longest"), ([SHORT, LONG], "longest"), ([SHORT], "max_length"))
        )
    size = alone.abs().max()
    return all(bool((other - alone).abs().max() <= AGREE * size) for other in (beside, full))


def flags_of(tokenizer: Any, texts: Sequence[str], most: int) -> NDArray[np.uint8]:
    """`CUT` where a text has more than `most` tokens, `UNKNOWN` where none of them stands for a part of it: [n]."""
    rows = tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    empty = set(tokenizer.all_special_ids) | {unknown}
    return np.array(
        [CUT * (len(row) > most) | UNKNOWN * all(token in empty for token in row) for row in rows], np.uint8
    )


def flags_of_open_clip(tokenizer: Any, texts: Sequence[str], tokens: torch.Tensor | None = None) -> NDArray[np.uint8]:
    """The same by a tokenizer of open_clip: its own byte pairs, or one of the transformers library behind its cleaning.

    `tokens`: what it made of these texts [n, context length], where that is there already.
    """
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None and hasattr(inner, "all_special_ids"):
        return flags_of(inner, [tokenizer.clean_fn(text) for text in texts], int(tokenizer.context_length))
    ids = (tokenizer(list(texts)) if tokens is None else tokens).numpy()
    found = np.where((ids[:, 2:] == 0).all(1), UNKNOWN, 0).astype(np.uint8)  # a start and an end, nothing between
    for row in np.flatnonzero(ids[:, -1]).tolist():  # only a full one can have been cut
        found[row] |= CUT * (len(tokenizer.encode(texts[row])) + 2 > ids.shape[1])
    return found


class ReadsByTokenizer(TwoTower):
    """A backbone that reads its texts by a tokenizer of the transformers library, with a `Padding`."""

    max_length: int
    _tokenizer: Any
    _padding: Padding

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Ids, and a mask where the model reads one: [n, longest], or [n, context] where the tower reads padding."""
        return tokens_of(
            self._tokenizer, self._padding.side, self.max_length, self.add_prompt(texts), self._padding.rule
        )

    @property
    def context(self) -> int:
        """The most tokens of a text that are read."""
        return int(self.max_length)

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """What is cut, and what is unknown, by the tokenizer."""
        return flags_of(self._tokenizer, self.add_prompt(texts), self.max_length)
