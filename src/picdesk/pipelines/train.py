"""train.py: fit, then evaluate what was fitted with the same evaluation everyone else uses."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.pipelines import advice, forgetting, shared, show
from picdesk.pipelines.build import build, check_all
from picdesk.pipelines.finish import Outcome, finish, weights_of
from picdesk.pipelines.job import Job, need_positive
from picdesk.pipelines.resume import with_checkpoint
from picdesk.pipelines.scoring import score_both
from picdesk.pipelines.tools import Sources
from picdesk.pipelines.world import embed
from picdesk.report.content import Note
from picdesk.training.checkpoint import find, save
from picdesk.training.datamodule import FeatureData
from picdesk.training.fit import Fitted, fit

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float:
    """One job. Gives the best mean hits@1 on validation data, which a sweep may choose by."""
    need_positive(cfg)
    parts = build_parts(cfg)
    if str(cfg.part) in ("train", "val", "all"):
        raise ConfigError(
            f"part={cfg.part}: a fit is reported on pictures that it neither learned from nor chose by: test"
        )
    cfg, start = with_checkpoint(cfg)
    world = shared.load_world(cfg)
    part = world.part(str(cfg.part))
    backbone, encoder = shared.load_backbone(cfg, start, to_train=True), shared.make_encoder(cfg)
    job, second = Job(cfg), forgetting.second_of(cfg)
    content = shared.fingerprint(cfg, world, world.part("all"), encoder) | (
        second.fingerprint(encoder) if second else {}
    )
    done = job.done_before(cfg, content, weights_of(backbone, start))
    if done is not None:
        return done
    with job.clock.stage("encode"):
        seen = {"train": world.part("train"), "val": world.part("val"), "report": part}
        features = {name: shared.features_of(cfg, world, seen[name], backbone, encoder) for name in seen}
        second = second.scored(backbone, encoder) if second else None
    sources = Sources.of(world, part, backbone, encoder)
    before = score_both(cfg, features["report"], *embed(backbone, features["report"]), sources)
    with job.clock.stage("fit"):
        settings = cfg.training
        data = FeatureData(
            features["train"], features["val"], int(settings.batch_size), int(cfg.seed), str(settings.sampler)
        )
        best = run_fit(cfg, job, backbone, data, parts)
    path = save(job.folder / "checkpoint", backbone, dict(best.path.weights), cfg)
    with job.clock.stage("retrieve and score"):
        after = score_both(cfg, features["report"], *embed(backbone, features["report"]), sources)
        second = second.scored(backbone, encoder) if second else None
    outcome = Outcome(
        systems=[("untrained" if start is None else "before", before, "other"), ("trained", after, "main")],
        weights=weights_of(backbone, find(str(path), job.folder)),
        training=show.training_charts(best.history, best.best),
        curves=(show.path_chart(best.path.alphas, best.path.scores, best.path.alpha),),
        notes=(
            *no_gain_note(best),
            *(Note(text, True) for text in best.notes),
            *forgetting.gained_and_lost(part.name, before, after, second),
        ),
        steps=advice.of_training(best),
        tables=forgetting.tables(second),
        extra=forgetting.numbers(second),
    )
    job.objective = float(best.path.scores[best.path.best])
    job.compared = forgetting.kept(before, second)
    finish(job, cfg, world, part, outcome, encoder)
    log.info("checkpoint:  %s", path)
    return job.objective


def build_parts(cfg: DictConfig) -> dict[str, Any]:
    """The parts of training, built before anything costly is begun, so that a mistake in one is told at once."""
    check_all(cfg)
    return {name: build(cfg, name) for name in ("adaptation", "loss", "optimizer", "scheduler", "callbacks")}


def run_fit(cfg: DictConfig, job: Job, backbone: TwoTower, data: FeatureData, parts: dict[str, Any]) -> Fitted:
    """Freeze and thaw, then fit."""
    trained = parts["adaptation"].prepare(backbone)

    def make_trainer(callbacks: list[pl.Callback]) -> pl.Trainer:
        trainer: pl.Trainer = build(cfg, "trainer", callbacks=callbacks, logger=job.logger, **quiet_settings(job))
        return trainer

    return fit(
        backbone,
        trained,
        loss=parts["loss"],
        optimizer=parts["optimizer"],
        scheduler=parts["scheduler"],
        data=data,
        make_trainer=make_trainer,
        callbacks=list(parts["callbacks"].values()),
        seed=int(cfg.seed),
    )


def quiet_settings(job: Job) -> dict[str, Any]:
    """Trainer settings that are not the user's: where it may write, and bars on a terminal only."""
    return {
        "default_root_dir": str(job.folder),
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": sys.stderr.isatty(),
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
    }


def no_gain_note(best: Fitted) -> tuple[Note, ...]:
    """Say loudly when training did not beat its start, which is then what is kept."""
    if best.path.alpha > 0:
        return ()
    return (Note("training did not beat its start on validation data: the weights from before it were kept", True),)
