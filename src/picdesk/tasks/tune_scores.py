"""`evaluate.py task=tune_weights scores=RULE`: choose the settings of a score correction, or none, on one part; report once."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly import shared
from picdesk.assembly.build import build
from picdesk.assembly.correcting import rule_of
from picdesk.assembly.inherit import with_checkpoint
from picdesk.assembly.searching import score_both
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.evaluation.choosing import choose, standard_error
from picdesk.evaluation.metrics import exact_ranks, value_of
from picdesk.evaluation.significance import compare_all
from picdesk.files import write_text
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.jobs.rankings import pictures_of
from picdesk.pages.finish import Outcome, Scores, finish, weights_of
from picdesk.pages.tuned import difference_notes, differences_json, show_metrics
from picdesk.report.content import Note
from picdesk.retrieval.banks import Banks, in_one_dimension_more
from picdesk.retrieval.dataset import World
from picdesk.retrieval.features import embed
from picdesk.retrieval.tools import Sources
from picdesk.search.corrected import blocks_of
from picdesk.search.corrections import Correction, settings_to_try
from picdesk.text.cells import PeopleWriter

log = logging.getLogger(__name__)
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Tried:
    """What was tried: `settings[0]` is no correction at all; the metric of each with its standard error; the choice."""

    settings: Sequence[dict[str, float] | None]
    values: Doubles
    errors: Doubles
    chosen: int
    best: int

    def told(self, place: int) -> str:
        """`k=64 weight=0.75`, or plain."""
        own = self.settings[place]
        return "plain" if own is None else " ".join(f"{key}={value:g}" for key, value in own.items())


def tune_scores(cfg: DictConfig, direction: Direction, metric: str) -> float:
    """One job. Gives the metric on the tuning part under the chosen settings."""
    cfg, checkpoint = with_checkpoint(cfg)
    rule = rule_of(cfg)
    if rule.transductive:
        raise ConfigError(
            "scores.transductive=true: settings are chosen with the bank of a part; leave transductive out"
        )
    if rule.bank == cfg.tune_weights.part:
        raise ConfigError(
            f"scores.bank={rule.bank}, tune_weights.part={cfg.tune_weights.part}: queries may not correct their own scores; "
            "choose on val with a bank of train"
        )
    world = shared.load_world(cfg)
    chosen_on, reported = world.part(str(cfg.tune_weights.part)), world.part(str(cfg.part))
    backbone, encoder = shared.load_backbone(cfg, checkpoint), shared.make_encoder(cfg)
    job = Job(cfg)
    with job.clock.stage("try settings"):
        tried = all_tried(cfg, world, chosen_on, backbone, encoder, direction, metric)
    write_tried(job, tried, f"{direction}/{metric}")
    job.objective = float(tried.values[tried.chosen])
    job.measure = f"{direction}/{metric} on part={cfg.tune_weights.part}"
    chosen = with_settings(cfg, tried.settings[tried.chosen])
    with job.clock.stage("report"):
        features = shared.features_of(cfg, world, reported, backbone, encoder)
        sources, both = Sources.of(world, reported, backbone, encoder), embed(backbone, features)
        before = score_both(with_settings(cfg, None), features, *both, sources)
        after = before if tried.settings[tried.chosen] is None else score_both(chosen, features, *both, sources)
    outcome = outcome_of(cfg, rule, tried, before, after, f"{direction}/{metric}")
    learned = learned_by(cfg, checkpoint, world)
    apart = without_look_alikes(cfg, world, reported, learned, after)
    notes = (*outcome.notes, *learned_note(learned, reported), *apart.notes)
    extra = {**outcome.extra, **apart.numbers}
    weights = weights_of(backbone, checkpoint)
    whole = replace(outcome, notes=notes, slices=apart.slices, extra=extra, weights=weights)
    finish(job, chosen, world, reported, whole, encoder)
    return job.objective


def all_tried(
    cfg: DictConfig,
    world: World,
    part: Collection,
    backbone: TwoTower,
    encoder: Encoder,
    direction: Direction,
    metric: str,
) -> Tried:
    """The metric on the tuning part without a correction and under all settings, by exact search."""
    features = shared.features_of(cfg, world, part, backbone, encoder)
    texts, pictures = embed(backbone, features)
    asking = np.flatnonzero(np.bincount(features.picture_of, minlength=len(pictures.ids)))
    queries, items = (texts, pictures) if direction == "t2i" else (pictures.take(asking), texts)
    qrels = features.t2i if direction == "t2i" else features.i2t
    bank = Banks(world, backbone, encoder, rule_of(cfg), int(cfg.seed), part.picture_ids).bank(
        direction, None, items.ids
    )
    settings: list[dict[str, float] | None] = [None, *settings_to_try(rule_of(cfg))]
    plain = exact_ranks(queries, items, qrels, direction=direction)
    each = [value_of(plain, metric)]
    for own in settings[1:]:
        said = rule_of(with_settings(cfg, own)).fit(bank, blocks_of(items.matrix))
        ranks = exact_ranks(*in_one_dimension_more(queries, items, said), qrels, direction=direction)
        each.append(value_of(ranks, metric))
    errors = np.array([standard_error(plain.cluster, value) for value in each])
    costs = [float(own is not None) for own in settings]
    chosen, best = choose(each, plain.cluster, costs, str(cfg.tune_weights.rule))
    return Tried(settings, np.array([value.mean() for value in each]), errors, chosen, best)


def with_settings(cfg: DictConfig, settings: dict[str, float] | None) -> DictConfig:
    """The config with these settings of its correction; None: with none."""
    changed = cfg.copy()
    if settings is None:
        changed.scores = OmegaConf.create({"_target_": "picdesk.search.corrections.Plain"})
        return changed
    whole: Correction = build(cfg, "scores")
    for key, value in settings.items():
        OmegaConf.update(changed, f"scores.{key}", type(getattr(whole, key))(value))
    return changed


def write_tried(job: Job, tried: Tried, metric: str) -> None:
    """`scores.csv`: every setting tried."""
    stream = io.StringIO()
    writer = PeopleWriter(stream, lineterminator="\n")
    writer.writerow(["scores", metric, "standard_error", "chosen"])
    for i, value in enumerate(tried.values):
        writer.writerow([tried.told(i), f"{value:.6f}", f"{tried.errors[i]:.6f}", int(i == tried.chosen)])
    write_text(job.folder / "scores.csv", stream.getvalue())


def outcome_of(cfg: DictConfig, rule: Correction, tried: Tried, before: Scores, after: Scores, metric: str) -> Outcome:
    """What is reported: the scores as they are beside the corrected ones, and whether they really differ."""
    one = before[next(iter(before))]
    tests = compare_all(
        {d: (after[d].ranks, before[d].ranks) for d in after},
        {d: pictures_of(d, after[d].qrels) for d in after},
        ks=one.ks,
        resamples=int(cfg.bootstrap.resamples),
        seed=int(cfg.seed),
        level=float(cfg.bootstrap.level),
        names=one.names,
    )
    told = (
        f"{rule.name}: chosen on {cfg.tune_weights.part} by {metric} ({cfg.tune_weights.rule}): {tried.told(tried.chosen)}, "
        f"{tried.values[tried.chosen]:.4f} ± {tried.errors[tried.chosen]:.4f} (plain {tried.values[0]:.4f}, highest "
        f"{tried.values[tried.best]:.4f} at {tried.told(tried.best)}); of {len(tried.settings):,} settings tried on the data "
        "that chose, so these values flatter"
    )
    found = {
        "scores": rule.name,
        "settings": tried.settings[tried.chosen] or {},
        "corrected": tried.settings[tried.chosen] is not None,
        "metric": metric,
        "rule": str(cfg.tune_weights.rule),
        "part": str(cfg.tune_weights.part),
        "value": float(tried.values[tried.chosen]),
        "standard_error": float(tried.errors[tried.chosen]),
        "plain": float(tried.values[0]),
        "best_value": float(tried.values[tried.best]),
        "best_settings": tried.settings[tried.best] or {},
    }
    name = f"{rule.name} {tried.told(tried.chosen)}" if found["corrected"] else "plain"
    extra = {"tuned": found, "less_plain": differences_json(tests), "plain": show_metrics(before)}
    return Outcome(
        systems=[("plain", before, "other"), (f"chosen: {name}", after, "main")],
        weights={},
        notes=(Note(told), *difference_notes(tests, str(cfg.part), "chosen scores less plain ones")),
        extra=extra,
    )
