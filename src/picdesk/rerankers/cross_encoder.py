"""`reranker=cross_encoder`: a model of the sentence-transformers library reads text and picture together and scores the pair.

Such models can do worse than a search by an embedding model of their own size (Qwen3-VL's table on MMEB-V2 has the 2B reranker
below the 2B embedder), so their weight is chosen on validation data like any other, and 0 is one of the choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from picdesk.errors import ConfigError, UserError
from picdesk.files import digest_of, file_digest
from picdesk.hub import folder_of
from picdesk.interfaces import RerankContext
from picdesk.needs import Need, model_need
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, no_scores, warn_of_cut
from picdesk.rerankers.itm import SCORES, by_picture
from picdesk.sentence_models import FILES, digest_of_folder, load, pick_files
from picdesk.trec.runs import Run
from picdesk.weights import finite, why

Cell = tuple[tuple[int, int], tuple[Any, Any]]


@config_part
class CrossEncoder(Scorer):
    """`CrossEncoder` of the library over pairs, the query first; `model` is a local folder or a hub id.

    `score` is the model's `logit`, or its `probability` (the sigmoid), under which good pairs may become equal. `instruction`
    is told with each pair (null: the model's own). `batch_size` pairs go through at once, `max_tokens` cuts longer ones.
    """

    block = 16

    def __init__(
        self,
        model: str = "Qwen/Qwen3-VL-Reranker-2B",
        score: str = "logit",
        instruction: str | None = None,
        max_tokens: int | None = None,
        batch_size: int = 8,
        allow_code: bool = False,
        weight: float = 0.2,
        top_k: int | None = 20,
    ) -> None:
        super().__init__(weight, top_k)
        if score not in SCORES:
            raise ConfigError(f"reranker.score={score}: choose one of {', '.join(SCORES)}")
        if batch_size < 1 or (max_tokens is not None and max_tokens < 1):
            raise ConfigError(f"reranker.batch_size={batch_size}, max_tokens={max_tokens}: at least 1 each")
        self.model, self.kind, self.instruction, self.max_tokens = model, score, instruction, max_tokens
        self.batch_size, self.allow_code = batch_size, allow_code
        self.folder = folder_of(model, "reranker.model", pick_files, FILES)
        self.counts = {"cross_encoder_pairs": 0}
        self._cut = False

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return [model_need(values["model"], f"{key}.model", pick_files, FILES)]

    def fingerprint(self, context: RerankContext) -> str:
        """The files of the model and every setting that matters."""
        return digest_of([self.content(), self.kind, self.instruction, self.max_tokens])

    def content(self) -> str:
        """The files of the model."""
        return digest_of(["cross_encoder", self._files])

    @cached_property
    def _files(self) -> list[str]:
        weights = sorted(path for path in self.folder.rglob("*") if path.suffix in (".safetensors", ".bin"))
        return [digest_of_folder(self.folder), *(f"{path.name}:{file_digest(path)}" for path in weights)]

    @cached_property
    def _library(self) -> Any:
        library = load("CrossEncoder", self.folder, f"reranker.model={self.model}", self.allow_code)
        lacking = [name for name in ("text", "image") if not library.supports(name)]
        if lacking:
            raise ConfigError(f"reranker.model={self.model} does not read {' and '.join(lacking)}")
        if library.num_labels != 1:
            raise ConfigError(f"reranker.model={self.model} gives {library.num_labels} numbers a pair; wanted one")
        if self.max_tokens is not None:
            library.max_seq_length = self.max_tokens
        return library

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """One value a pair [queries, depth]."""
        if context.embedder is None or context.pictures.pictures is None:
            return no_scores(run)
        library, scores = self._library, no_scores(run)
        library.to(context.embedder.device)
        self._say_cut(library, context.texts.texts)
        pairs = self._pairs(run, context)
        while part := list(islice(pairs, self.batch_size)):
            cells = np.array([cell for cell, _ in part])
            scores[cells[:, 0], cells[:, 1]] = self._values(library, [pair for _, pair in part])
            self.counts["cross_encoder_pairs"] += len(part)
        return scores

    def _say_cut(self, library: Any, texts: Sequence[str]) -> None:
        """Say how many texts by themselves are longer than what is read of a pair; once."""
        if library.tokenizer is not None and library.max_seq_length and not self._cut:
            lengths = [len(ids) for ids in library.tokenizer(list(texts), verbose=False)["input_ids"]]
            self._cut = warn_of_cut(int(library.max_seq_length), lengths, len(texts))

    def _pairs(self, run: Run, context: RerankContext) -> Iterator[Cell]:
        """Cell (query, place) and pair (query, item), pictures one after another so that each is opened once."""
        assert context.embedder is not None
        assert context.pictures.pictures is not None
        asks = context.direction == "t2i"
        for picture, cells, texts in by_picture(run, asks):
            image: Image.Image = context.embedder.decode(context.pictures.pictures.read(picture))
            for cell, text in zip(cells.tolist(), texts.tolist(), strict=True):
                said = context.texts.texts[text]
                yield (cell[0], cell[1]), ((said, image) if asks else (image, said))

    def _values(self, library: Any, pairs: list[tuple[Any, Any]]) -> NDArray[np.float32]:
        activation = torch.nn.Identity() if self.kind == "logit" else torch.nn.Sigmoid()
        options = {"batch_size": len(pairs), "show_progress_bar": False, "activation_fn": activation}
        try:
            found = library.predict(pairs, prompt=self.instruction, **options)
        except (ValueError, TypeError) as error:  # a chat template that knows no pair of these kinds
            raise UserError(
                f"reranker.model={self.model} cannot score text with picture ({why(error, most=160)})"
            ) from error
        return finite(np.asarray(found, np.float32), f"scores of reranker.model={self.model}")
