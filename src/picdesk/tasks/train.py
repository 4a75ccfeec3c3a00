"""train.py: fit, then evaluate what was fitted with the same evaluation everyone else uses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from picdesk.assembly import reranking, shared
from picdesk.assembly.build import build, check_all
from picdesk.assembly.checkpoints import find
from picdesk.assembly.inherit import with_checkpoint
from picdesk.assembly.reranking import contents
from picdesk.assembly.saved import as_yaml
from picdesk.assembly.searching import score_both
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.jobs import resume
from picdesk.jobs.folder import Job, need_positive
from picdesk.jobs.learned import learned_by, learned_by_fit, learned_note, without_look_alikes
from picdesk.pages import show, training_advice
from picdesk.pages.finish import Outcome, finish, weights_of
from picdesk.report.content import Note
from picdesk.retrieval.dataset import World
from picdesk.retrieval.features import embed
from picdesk.retrieval.tools import Sources
from picdesk.tasks import forgetting, trainer
from picdesk.training.checkpoint import save
from picdesk.training.datamodule import FeatureData, Raw
from picdesk.training.fit import Fitted, fit

log = logging.getLogger(__name__)
VALIDATED = "mean hits@1 on validation data"
PARTS = ("adaptation", "augmentation", "loss", "optimizer", "scheduler", "callbacks")


def train(cfg: DictConfig) -> float:
    """One job. Gives the best mean hits@1 on validation data, which a sweep may choose by."""
    trainer.hush_other_ranks()
    cfg, going_on = resume.resumed(cfg)
    need_positive(cfg)
    parts = build_parts(cfg)
    check_part(str(cfg.part))
    cfg, start = resume.checkpoint_of(cfg) if going_on else with_checkpoint(cfg)
    world = shared.load_world(cfg)
    part = world.part(str(cfg.part))
    backbone, encoder = shared.load_backbone(cfg, start, to_train=True), shared.make_encoder(cfg)
    parts["adaptation"].check(backbone)
    reranking.check_fit(cfg, backbone.name, parts["adaptation"].tunes(backbone))
    job, second = Job(cfg), forgetting.second_of(cfg)
    content = shared.fingerprint(cfg, world, world.part("all"), encoder) | {"split": world.split_digest()}
    content |= second.fingerprint(encoder) if second else {}
    judges = contents(cfg)
    done = job.done_before(cfg, content, weights_of(backbone, start) | judges)
    if done is not None:
        return done
    with job.clock.stage("encode"):
        report = shared.features_of(cfg, world, part, backbone, encoder)
        data = make_data(cfg, world, backbone, encoder, parts)
        second = second.scored(backbone, encoder) if second else None
    sources = Sources.of(world, part, backbone, encoder)
    before = score_both(cfg, report, *embed(backbone, report), sources)
    state = resume.keep(cfg, job, going_on)
    with job.clock.stage("fit"):
        best = run_fit(cfg, job, backbone, data, parts, state)
    path = save(job.folder / "checkpoint", backbone, dict(best.path.weights), as_yaml(cfg))
    with job.clock.stage("retrieve and score"):
        if data.raw is not None:  # new trunks: the report part goes through the store again, under their fingerprints
            report = shared.features_of(cfg, world, part, backbone, encoder)
        after = score_both(cfg, report, *embed(backbone, report), sources)
        second = second.scored(backbone, encoder) if second else None
    learned = learned_by(cfg, start, world)
    apart = without_look_alikes(cfg, world, part, learned_by_fit(world, learned), after)
    outcome = Outcome(
        systems=[("untrained" if start is None else "before", before, "other"), ("trained", after, "main")],
        weights=weights_of(backbone, find(str(path), job.folder)) | judges,
        training=show.training_charts(best.history, best.best),
        curves=(show.path_chart(best.path.alphas, best.path.scores, best.path.alpha),),
        notes=(
            *no_gain_note(best),
            *learned_note(learned, part),
            *apart.notes,
            *(Note(text, True) for text in best.notes),
            *forgetting.gained_and_lost(part.name, before, after, second),
        ),
        steps=training_advice.of_training(best),
        tables=forgetting.tables(second),
        extra={**forgetting.numbers(second), **apart.numbers},
        slices=apart.slices,
    )
    job.measure = VALIDATED
    job.objective = float(best.path.scores[best.path.best])
    job.compared = forgetting.kept(before, second)
    finish(job, cfg, world, part, outcome, encoder)
    resume.forget(job)
    log.info("checkpoint:  %s", path)
    return job.objective


def check_part(part: str) -> None:
    """Raise `ConfigError` for a part that a fit learns from, or chooses by."""
    if part in ("train", "val", "all"):
        raise ConfigError(f"part={part}: a fit is reported on pictures that it neither learned from nor chose by: test")


def build_parts(cfg: DictConfig) -> dict[str, Any]:
    """The parts of training, built before anything costly is begun, so that a mistake in one is told at once."""
    check_all(cfg, training=True)
    trainer.check_trainer(cfg)
    parts = {name: build(cfg, name) for name in PARTS}
    parts["callbacks"] = {name: part for name, part in parts["callbacks"].items() if part is not None}
    trainer.check_steps(parts["optimizer"], parts["scheduler"])
    if parts["augmentation"].active and "image" not in parts["adaptation"].towers:
        raise ConfigError(
            f"augmentation: with adaptation={parts['adaptation'].name} the picture trunk is frozen and training runs on its "
            "features, not on pictures; take augmentation=none"
        )
    for key in ("chunk", "logits_block", "state_seconds"):
        if float(cfg.training[key]) < 0:
            raise ConfigError(f"training.{key}={cfg.training[key]}: 0 or more")
    return parts


def make_data(
    cfg: DictConfig, world: World, backbone: TwoTower, encoder: Encoder, parts: dict[str, Any]
) -> FeatureData:
    """What is trained and validated on: features from the store, and for trunks that learn pictures and texts."""
    learning = parts["adaptation"].towers
    seen = {name: world.part(name) for name in ("train", "val")}
    train, val = (shared.features_of(cfg, world, seen[name], backbone, encoder, learning) for name in seen)
    raw = Raw(
        backbone,
        learning,
        pictures={name: part.pictures for name, part in seen.items()},
        texts={name: world.prompts(part) for name, part in seen.items()},
        augment=parts["augmentation"],
        fast_decode=encoder.fast_decode,
        workers=encoder.workers,
        max_pixels=encoder.max_pixels,
    )
    settings = cfg.training
    return FeatureData(train, val, int(settings.batch_size), int(cfg.seed), str(settings.sampler), raw)


def run_fit(
    cfg: DictConfig, job: Job, backbone: TwoTower, data: FeatureData, parts: dict[str, Any], state: Path
) -> Fitted:
    """Freeze and thaw, then fit."""
    trained = parts["adaptation"].prepare(backbone)

    def make_trainer(**kept: Any) -> pl.Trainer:
        return trainer.made(cfg, logger=trainer.logger_of(job), **kept, **trainer.settings(job))

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
        chunk=int(cfg.training.chunk),
        logits_block=int(cfg.training.logits_block),
        state=state,
        state_seconds=float(cfg.training.state_seconds),
    )


def no_gain_note(best: Fitted) -> tuple[Note, ...]:
    """Say loudly when training did not beat its start, which is then what is kept."""
    if best.path.alpha > 0:
        return ()
    return (Note("training did not beat its start on validation data: the weights from before it were kept", True),)
