"""`evaluate.py task=encode`: fill the store with the features of a part; with `trainer=ddp` the ranks share the work."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch

from picdesk.assembly.session import Session
from picdesk.jobs.folder import Job
from picdesk.jobs.trainer import hush_other_ranks, make_trainer, refuse_sweep
from picdesk.parts import config_part
from picdesk.retrieval.features import picture_features, text_features
from picdesk.tasks.base import Task
from picdesk.training.checkpoint import MODALITIES
from picdesk.training.every_rank import on_every_rank

log = logging.getLogger(__name__)


def own_device(asked: str, root: torch.device) -> str:
    """Where one rank encodes: where it is asked to, and of several GPUs (`cuda`) on the one that the trainer gave to it."""
    return str(root) if asked == "cuda" and root.type == "cuda" else asked


@config_part
class Encode(Task):
    """One job, on every rank of the trainer. Gives the number of items that went through a trunk."""

    def run(self, session: Session) -> float:
        """Encode on every rank of the trainer."""
        hush_other_ranks()
        session = session.open(training=True, whole=True)
        dataset, part, backbone, encoder = session.dataset, session.part, session.backbone, session.encoder
        job = Job(session)
        root = str(job.folder)
        trainer = make_trainer(session, logger=False, callbacks=[], default_root_dir=root, enable_checkpointing=False)
        refuse_sweep(trainer)

        def work() -> list[int]:
            encoder.device = own_device(encoder.device, trainer.strategy.root_device)
            picture_features(part, backbone, encoder)
            if part.text_ids:
                text_features(dataset, part, backbone, encoder)
            return [encoder.counts.encoded[modality] for modality in MODALITIES]

        with job.clock.stage("encode"):
            pictures, texts = on_every_rank(trainer, work)
        if not trainer.is_global_zero:
            sys.exit(0)
        known = {"image": len(part.picture_ids), "text": len(part.text_ids)}
        for modality, count in zip(MODALITIES, (pictures, texts), strict=True):
            encoder.counts.encoded[modality], encoder.counts.reused[modality] = count, max(0, known[modality] - count)
        job.write_config()
        data = dataset.fingerprint(part, encoder)
        job.write_manifest(data, session.weights(), encoder, len(dataset.collection.skipped))
        log.info(
            "encoded %d pictures and %d texts on %d ranks; store: %s",
            pictures,
            texts,
            trainer.world_size,
            session.store,
        )
        return float(pictures + texts)

    def next_step(self, folder: Path) -> str:
        """Evaluate with what is encoded."""
        return "the same command with task=evaluate, which finds every vector in the store"
