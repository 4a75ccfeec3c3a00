"""A vision-language model as judge: does the picture fit the text, and is it good, true, fair and no bait?"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.interfaces import Embedder, RerankContext
from picdesk.language_models import LanguageModel, Question
from picdesk.parts import config_part
from picdesk.rerankers.asking import Asker
from picdesk.rerankers.base import Scorer, no_scores
from picdesk.trec.runs import Run

LOWEST, HIGHEST = 1, 5


@config_part
class VlmJudge(Scorer):
    """Grades from 1 to 5 for each pair, as a JSON object; the score is their mean, weighted by `criteria`.

    Relevance must be among the criteria: a judge who is not asked whether the picture fits the text rewards any good picture.
    A pair whose answer cannot be used, also when asked again, is unscored. `question` holds {text}; pictures are shown with
    their longer side cut down to `max_side` pixels.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        question: str,
        criteria: Mapping[str, float],
        system: str = "",
        max_side: int = 768,
        weight: float = 0.2,
        top_k: int | None = 5,
    ) -> None:
        super().__init__(weight, top_k)
        if not criteria.get("relevance") or min(criteria.values()) < 0:
            raise ConfigError("reranker.criteria: relevance must have a weight above 0, and no criterion one below")
        if "{text}" not in question:
            raise ConfigError("reranker.question must hold {text}, where the text of the pair is put")
        if max_side < 16:
            raise ConfigError(f"reranker.max_side={max_side}: at least 16 pixels")
        self.question, self.system, self.max_side = question.strip(), system.strip(), max_side
        self.criteria = {str(name): float(value) for name, value in criteria.items()}
        self.asker = Asker(language_model, "judge")
        self.counts = self.asker.counts
        self.unusable = self.asker.unusable

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """The mean grade of each pair [queries, depth]."""
        scores = no_scores(run)
        if context.embedder is None or context.pictures.pictures is None:
            return scores
        self.unusable.clear()
        shown: dict[int, bytes] = {}
        cells, questions = [], []
        for query, place in zip(*np.nonzero(run.index >= 0), strict=True):
            item = int(run.index[query, place])
            text, picture = (int(query), item) if context.direction == "t2i" else (item, int(query))
            if picture not in shown:
                shown[picture] = smaller(context.pictures.pictures.read(picture), self.max_side, context.embedder)
            name = f"{context.texts.ids[text]} / {context.pictures.ids[picture]}"
            cells.append((query, place))
            asked = self.question.replace("{text}", context.texts.texts[text])
            questions.append(Question(asked, self.system, (shown[picture],), name=name))
        for cell, grades in zip(cells, self.asker.objects(questions, self.schema()), strict=True):
            if grades is not None:
                scores[cell] = self.mean_grade(grades)
        return scores

    def content(self) -> str:
        """The language model and its settings."""
        return digest_of(["vlm_judge", self.asker.model.fingerprint()])

    def schema(self) -> dict[str, Any]:
        """One whole number from 1 to 5 for each criterion."""
        grade = {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}
        names = list(self.criteria)
        return {"type": "object", "properties": dict.fromkeys(names, grade), "required": names}

    def mean_grade(self, grades: Mapping[str, int]) -> float:
        """The weighted mean of the grades."""
        return sum(weight * grades[name] for name, weight in self.criteria.items()) / sum(self.criteria.values())


def smaller(data: bytes, side: int, embedder: Embedder) -> bytes:
    """The picture with its longer side at most `side` pixels, as JPEG."""
    picture = embedder.decode(data)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "jpeg", quality=90)
    return stream.getvalue()
