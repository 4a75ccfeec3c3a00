"""What a retrieval asks: texts of the command line or a file, or one picture."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from picdesk.data.images import open_picture
from picdesk.errors import ConfigError, MissingFileError
from picdesk.readers.queries import Query, bare, read_queries
from picdesk.readers.subset import only
from picdesk.search.grouping import at_least
from picdesk.trec.runs import Floats, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnePicture:
    """The picture that is asked about, as a source of one."""

    data: bytes

    def __len__(self) -> int:
        return 1

    def read(self, i: int) -> bytes:
        """Its bytes."""
        return self.data


def read_texts(cfg: DictConfig) -> list[Query]:
    """The queries of the command line."""
    if cfg.queries:
        return only(read_queries(str(cfg.queries)), cfg.subset)
    if not str(cfg.query).strip():
        raise ConfigError("query is empty; give a text, for example query='flood warnings in the north'")
    return [bare("q1", str(cfg.query).strip())]


def read_picture(file: str, max_pixels: int) -> bytes:
    """Bytes of the picture that is asked about, which must be one, of at most `max_pixels` pixels."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingFileError(f"image={file}: no such file")
    data = path.read_bytes()
    try:
        open_picture(data, max_pixels)
    except ValueError as error:
        raise ConfigError(f"image={file}: {error}") from None
    return data


def strong(cfg: DictConfig, run: Run, similarity: Floats | None = None) -> Run:
    """What the search scores `min_score` or more; where nothing is, that is said, with the score of the best.

    It is the similarity that counts, as the scores of a reranked list are relative to that list, and corrected ones to a bank;
    `similarity` [queries, depth] where the scores of the run are not it.
    """
    kept = at_least(run, cfg.min_score, similarity)
    shown = run.scores if similarity is None else similarity
    for q in np.flatnonzero(~(kept.index >= 0).any(axis=1)):
        log.warning(
            "%s: nothing scores min_score=%g or more; the best has %.3f",
            run.query_ids[q],
            cfg.min_score,
            shown[q].max(),
        )
    return kept
