"""Image-text matching: BLIP or BLIP-2 reads text and picture together and says whether they belong to each other.

Protocol of the BLIP authors' retrieval evaluation (Li et al. 2022, arXiv 2201.12086): text padded to 35 tokens, picture 384
pixels, [ENC] as the first token, score = logit of "match" + cosine of the two towers, over the best candidates of the search.
BLIP-2 (Li et al. 2023, arXiv 2301.12597) is evaluated alike, without a token of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.files import digest_of, file_digest
from picdesk.hub import WITH_PICTURES, folder_of, one_set_of_weights
from picdesk.interfaces import RerankContext
from picdesk.needs import Need, model_need
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, no_scores, warn_of_cut
from picdesk.rerankers.matchers import Matcher, load
from picdesk.trec.runs import Run
from picdesk.weights import finite

SCORES = ("logit", "probability")


@config_part
class Itm(Scorer):
    """`BlipForImageTextRetrieval` or `Blip2ForImageTextRetrieval` of the transformers library over pairs.

    `model` is a local folder or a hub id; which of the two it is stands in its config.

    `score` is the match `logit` or its `probability`; `add_similarity` adds the cosine of BLIP's own towers. `first_token`
    replaces the first token of the text before matching, as the published evaluation does (30523, [ENC]); null leaves it as
    the library has it. Each picture is encoded once, and its pairs go through the text side `batch_size` at a time.
    """

    block = 64

    def __init__(
        self,
        model: str = "Salesforce/blip-itm-base-coco",
        score: str = "logit",
        add_similarity: bool = True,
        max_tokens: int = 35,
        picture_size: int = 384,
        first_token: int | None = 30523,
        batch_size: int = 32,
        weight: float = 0.2,
        top_k: int | None = None,
    ) -> None:
        super().__init__(weight, top_k)
        if score not in SCORES:
            raise ConfigError(f"reranker.score={score}: choose one of {', '.join(SCORES)}")
        if min(max_tokens, picture_size, batch_size) < 1:
            raise ConfigError("reranker.max_tokens, picture_size and batch_size must each be at least 1")
        self.model, self.kind, self.add_similarity = model, score, add_similarity
        self.max_tokens, self.picture_size, self.batch_size = max_tokens, picture_size, batch_size
        self.first_token = first_token
        self.folder = folder_of(model, "reranker.model", one_set_of_weights, WITH_PICTURES)
        self.counts = {"itm_pictures": 0, "itm_pairs": 0}
        self._cut = False

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return [model_need(values["model"], f"{key}.model", one_set_of_weights, WITH_PICTURES)]

    def fingerprint(self, context: RerankContext) -> str:
        """The files of the model and every setting that matters."""
        settings = [self.kind, self.add_similarity, self.max_tokens, self.picture_size, self.first_token]
        return digest_of(["itm", self._files, settings])

    def content(self) -> str:
        """The files of the model."""
        return digest_of(["itm", self._files])

    @cached_property
    def _files(self) -> list[str]:
        names = sorted(
            path for path in self.folder.iterdir() if path.suffix in (".json", ".txt", ".safetensors", ".bin")
        )
        return [f"{path.name}:{file_digest(path)}" for path in names]

    @cached_property
    def _parts(self) -> tuple[Matcher, Any, Any]:
        return load(self.folder, self.model, self.picture_size, self.first_token)

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """One value a pair [queries, depth]."""
        if context.embedder is None or context.pictures.pictures is None:
            return no_scores(run)
        matcher, processor, tokenizer = self._parts
        device = torch.device(context.embedder.device)
        matcher.model.to(device)
        scores = no_scores(run)
        tokens = tokenizer(
            list(context.texts.texts),
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        self._say_cut(tokenizer, context.texts.texts, tokens["attention_mask"])
        with torch.inference_mode():
            for picture, cells, texts in by_picture(run, context.direction == "t2i"):
                image = context.embedder.decode(context.pictures.pictures.read(picture))
                pixels = processor(images=image, return_tensors="pt")["pixel_values"].to(device)
                seen = matcher.see(pixels)
                self.counts["itm_pictures"] += 1
                self.counts["itm_pairs"] += len(texts)
                for at in range(0, len(texts), self.batch_size):
                    rows = torch.from_numpy(texts[at : at + self.batch_size])
                    ids, mask = tokens["input_ids"][rows].to(device), tokens["attention_mask"][rows].to(device)
                    part = cells[at : at + self.batch_size]
                    scores[part[:, 0], part[:, 1]] = self._value(matcher, seen, ids, mask)
        return scores

    def _value(self, matcher: Matcher, seen: Any, ids: torch.Tensor, mask: torch.Tensor) -> NDArray[np.float32]:
        """Values [n] of n texts with one picture."""
        logits = matcher.match(seen, ids, mask)
        value = logits[:, 1] if self.kind == "logit" else torch.softmax(logits, dim=1)[:, 1]
        if self.add_similarity:
            value = value + matcher.similarity(seen, ids, mask)
        return finite(value.float().cpu().numpy(), f"scores of reranker.model={self.model}")

    def _say_cut(self, tokenizer: Any, texts: Sequence[str], mask: torch.Tensor) -> None:
        """Say how many texts are longer than `max_tokens`; once. Only a text that fills its row can be."""
        full = [texts[i] for i in torch.nonzero(mask.all(1))[:, 0].tolist()]
        if full and not self._cut:
            lengths = [len(ids) for ids in tokenizer(full, verbose=False)["input_ids"]]
            self._cut = warn_of_cut(self.max_tokens, lengths, len(texts))


def by_picture(run: Run, texts_ask: bool) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Each picture once, with its cells (query, place) in the run [n, 2] and the texts [n] it is paired with."""
    query, place = np.nonzero(run.index >= 0)
    item = run.index[query, place].astype(np.int64)
    pictures, texts = (item, query) if texts_ask else (query, item)
    order = np.argsort(pictures, kind="stable")
    starts = np.flatnonzero(np.diff(pictures[order], prepend=-1))
    for own in np.split(order, starts[1:]) if len(order) else []:
        yield int(pictures[own[0]]), np.stack([query[own], place[own]], axis=1), texts[own].astype(np.int64)
