"""`evaluate.py task=export`: the embeddings of one part as a `.npz` file and its captions, which `data=npz` reads back."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np

from picdesk.assembly.session import Session
from picdesk.files import write_text, written_whole
from picdesk.jobs.folder import Job
from picdesk.parts import config_part
from picdesk.retrieval.features import embed
from picdesk.tasks.base import Task
from picdesk.text.cells import CsvWriter

log = logging.getLogger(__name__)
FILE, CAPTIONS = "embeddings.npz", "captions.csv"
ONE_DIRECTION = (
    "%s has other vectors from picture to text than from text to picture (backbone.prompts): the file has those from text to "
    "picture alone, so what it scores from picture to text is not what the model scores"
)


@config_part
class Export(Task):
    """One job: embeddings.npz and captions.csv. Gives the number of vectors."""

    def run(self, session: Session) -> float:
        """Write both files into the output dir. Gives the number of vectors.

        `image_embeddings` [pictures, dim] belong to `image_names`, row j of `text_embeddings` to row j of the captions, whose
        texts are those that were encoded; float32, of length 1. Where directions have their own, they are those of t2i.
        """
        session = session.open(whole=True)
        dataset, part, backbone = session.dataset, session.part, session.backbone
        texts, pictures = embed(backbone, session.features_of(part))
        job = Job(session)
        folder = job.folder
        arrays = {
            "image_embeddings": pictures.matrix,
            "image_names": np.array(pictures.ids),
            "text_embeddings": texts.matrix,
        }
        with written_whole(folder / FILE) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        rows = io.StringIO()
        writer = CsvWriter(rows, lineterminator="\n")  # read back by data=npz: the texts as they are, to the character
        writer.writerow(["image", "caption"])
        names = [part.picture_ids[i] for i in part.picture_of]
        writer.writerows(zip(names, dataset.prompts(part), strict=True))
        write_text(folder / CAPTIONS, rows.getvalue())
        checkpoint = session.checkpoint  # whose text tower answers over these vectors
        job.write_config(ckpt=None if checkpoint is None else str(checkpoint.path.absolute()))
        left_out = len(dataset.collection.skipped)
        job.write_manifest(session.fingerprint(part), session.weights(), session.encoder, left_out, (FILE, CAPTIONS))
        job.logger.finish()
        log.info(
            "%d pictures and %d texts of %d numbers each: %s",
            len(pictures.ids),
            len(texts.ids),
            backbone.dim,
            folder / FILE,
        )
        log.info(
            "read it with: data=npz data.root=%s data.file=%s data.image_names=image_names data.quoting=csv split=all part=all "
            "prompt=caption backbone=precomputed backbone.dim=%d backbone.text_ckpt=export",
            folder,
            FILE,
            backbone.dim,
        )
        if backbone.turns:
            log.warning(ONE_DIRECTION, backbone.name)
        return float(len(pictures.ids) + len(texts.ids))

    def next_step(self, folder: Path) -> str:
        """How to read it was said."""
        return ""
