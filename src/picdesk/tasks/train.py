"""train.py: fit, then evaluate what was fitted with the same evaluation everyone else uses."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from picdesk.assembly.again import begun_from, going_on
from picdesk.assembly.checkpoints import find
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError
from picdesk.home import at_door
from picdesk.jobs import fit_checks, resume, trainer
from picdesk.jobs.folder import Job, need_positive
from picdesk.jobs.learned import learned_by, learned_by_fit, learned_note, without_look_alikes
from picdesk.pages import forgetting, show, training_advice
from picdesk.pages.finish import Outcome, finish
from picdesk.parts import config_part
from picdesk.report.content import Note
from picdesk.retrieval.features import turned_features
from picdesk.tasks.base import Task
from picdesk.training.checkpoint import save
from picdesk.training.datamodule import FeatureData, Raw
from picdesk.training.features import Features
from picdesk.training.fit import Fitted, fit
from picdesk.training.losses import takes_text, takes_turned
from picdesk.training.probes import name_of

log = logging.getLogger(__name__)
VALIDATED = "mean hits@1 on validation data"
PARTS = ("adaptation", "augmentation", "loss", "optimizer", "scheduler", "callbacks")


@config_part
@dataclass(kw_only=True)
class Train(Task):
    """One job. Gives the best mean hits@1 on validation data. `resume`: the output dir of a stopped job, to go on with."""

    leaves_out_folds = True
    resume: str | None = None

    def run(self, session: Session) -> float:
        """Check what can be checked before anything is encoded, then fit and evaluate."""
        trainer.hush_other_ranks()
        session = going_on(session, self.resume) if self.resume else session
        need_positive(session.settings)
        session.check(training=True)
        parts = build_parts(session)
        check_part(session.settings.part)
        return train(begun_from(session) if self.resume else session.open(training=True), parts, self.resume)

    def next_step(self, folder: Path) -> str:
        """Search with what was trained."""
        return f'{at_door("retrieve")} ckpt={shlex.quote(str(folder))} "what you look for"'


def train(session: Session, parts: dict[str, Any], stopped: str | None) -> float:
    """Evaluate the start, fit, evaluate what was fitted; `stopped` is the folder of the job that this one goes on with."""
    dataset, part, backbone = session.dataset, session.part, session.backbone_to_train()
    parts["adaptation"].check(backbone)
    fit_checks.check_given(parts["adaptation"], backbone, dataset.part("train"))
    session.rerankers.check_fit(backbone.name, parts["adaptation"].tunes(backbone))
    few = fit_checks.choice_notes(len(dataset.part("val").pictures))
    job, second = Job(session), forgetting.second_of(session)
    content = session.fingerprint(dataset.part("all")) | {"split": dataset.split_digest()}
    content |= second.fingerprint() if second else {}
    judges = session.rerankers.contents()
    done = job.done_before(content, session.weights() | judges)
    if done is not None:
        return done
    with job.clock.stage("encode"):
        report = session.features_of(part)
        data = make_data(session, parts)
        fit_checks.check_batches(session.plain_node("trainer"), len(data.order))
        second = second.with_scores(backbone, session.encoder) if second else None
    before = session.system.evaluate(dataset, part, report)
    state = resume.keep(job, stopped)
    with job.clock.stage("fit"):
        best = run_fit(session, job, data, parts, state)
    tuned = dict(best.path.weights)
    path = save(job.folder / "checkpoint", backbone, tuned, session.config_text(), session.checkpoint)
    with job.clock.stage("retrieve and score"):
        if data.raw is not None:  # new trunks: the report part goes through the store again, under their fingerprints
            report = session.features_of(part)
        after = session.system.evaluate(dataset, part, report)
        second = second.with_scores(backbone, session.encoder) if second else None
    learned = learned_by(session)
    apart = without_look_alikes(session, part, learned_by_fit(dataset, learned), after)
    start = "untrained" if backbone.untrained else "before"
    session.checkpoint = find(str(path), job.folder)
    outcome = Outcome(
        systems=[(start, before, "other"), ("trained", after, "main")],
        weights=session.weights() | judges,
        training=show.training_charts(best.history, best.best),
        curves=(show.path_chart(best.path.alphas, best.path.scores, best.path.alpha),),
        notes=(
            *few,
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
    job.compared = forgetting.manifest_metrics(before, second)
    finish(job, session, part, outcome)
    resume.forget(job)
    log.info("checkpoint:  %s", path)
    return job.objective


def check_part(part: str) -> None:
    """Raise `ConfigError` for a part that a fit learns from, or chooses by."""
    if part in ("train", "val", "all"):
        raise ConfigError(f"part={part}: a fit is reported on pictures that it neither learned from nor chose by: test")


def build_parts(session: Session) -> dict[str, Any]:
    """The parts of training, built before anything costly is begun, so that a mistake in one is told at once."""
    trainer.check_trainer(session)
    fit_checks.check_stopping(session.plain_node("callbacks"))
    parts = {name: session.build(name) for name in PARTS}
    parts["callbacks"] = {name: part for name, part in parts["callbacks"].items() if part is not None}
    fit_checks.check_steps(parts["optimizer"], parts["scheduler"])
    fit_checks.check_loss(parts["loss"])
    if parts["augmentation"].active and "image" not in parts["adaptation"].towers:
        raise ConfigError(
            f"augmentation: with adaptation={parts['adaptation'].name} the picture trunk is frozen and training runs on its "
            "features, not on pictures; take augmentation=none"
        )
    for key, value in vars(session.settings.training).items():
        if key in ("chunk", "logits_block", "state_seconds") and value < 0:
            raise ConfigError(f"training.{key}={value}: 0 or more")
    return parts


def make_data(session: Session, parts: dict[str, Any]) -> FeatureData:
    """What is trained and validated on: features from the store, and for trunks that learn pictures and texts."""
    learning, encoder = parts["adaptation"].towers, session.encoder
    seen = {name: session.dataset.part(name) for name in ("train", "val")}
    train, val = (session.features_of(seen[name], learning) for name in seen)
    tell_further_positives(train, parts["loss"])
    raw = Raw(
        session.backbone,
        learning,
        pictures={name: part.pictures for name, part in seen.items()},
        texts={name: session.dataset.prompts(part) for name, part in seen.items()},
        augment=parts["augmentation"],
        fast_decode=encoder.fast_decode,
        workers=encoder.workers,
        max_pixels=encoder.max_pixels,
    )
    settings = session.settings.training
    turned = {name: turned_features(session.dataset, seen[name], session.backbone, encoder, learning) for name in seen}
    if turned["train"] and not takes_turned(parts["loss"]):
        told = "backbone.prompts: %s learns from texts as they ask in both directions: its forward takes no turned"
        log.warning(told, name_of(parts["loss"]))
        turned["train"] = {}
    batches = (settings.batch_size, session.settings.seed, settings.sampler)
    return FeatureData(train, val, *batches, raw, turned["val"], turned["train"])


def tell_further_positives(train: Features, loss: Any) -> None:
    """Say what the loss makes of pictures that a text is relevant to beside its own."""
    further = len(train.further_pairs)
    if further and takes_text(loss):
        log.info("data.qrels: %d further positives of the train part count as no negatives", further)
    elif further:
        told = "data.qrels: %s takes %d further positives of the train part for negatives: its forward takes no text"
        log.warning(told, name_of(loss), further)


def run_fit(session: Session, job: Job, data: FeatureData, parts: dict[str, Any], state: Path) -> Fitted:
    """Freeze and thaw, then fit."""
    backbone, settings = session.backbone, session.settings.training
    trained = parts["adaptation"].prepare(backbone)

    def make_trainer(**kept: Any) -> pl.Trainer:
        return trainer.make_trainer(session, logger=trainer.logger_of(job), **kept, **trainer.settings(job))

    return fit(
        backbone,
        trained,
        loss=parts["loss"],
        optimizer=parts["optimizer"],
        scheduler=parts["scheduler"],
        data=data,
        make_trainer=make_trainer,
        callbacks=list(parts["callbacks"].values()),
        seed=session.settings.seed,
        chunk=settings.chunk,
        logits_block=settings.logits_block,
        state=state,
        state_seconds=settings.state_seconds,
    )


def no_gain_note(best: Fitted) -> tuple[Note, ...]:
    """Say loudly when training did not beat its start, which is then what is kept."""
    if best.path.alpha > 0:
        return ()
    return (Note("training did not beat its start on validation data: the weights from before it were kept", True),)
