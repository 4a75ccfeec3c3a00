"""`evaluate.py task=tune_weights`: choose the weights of the rerankers on one part, report them once on another."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly import shared
from picdesk.assembly.build import build, check_all
from picdesk.assembly.correcting import rule_of
from picdesk.assembly.inherit import with_checkpoint
from picdesk.assembly.reranking import contents, nodes_of, parts_of, refuse_reranker, weights_of_parts
from picdesk.assembly.searching import score_both
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError, DataError, examples
from picdesk.evaluation.choosing import RULES, choose, standard_error
from picdesk.evaluation.metrics import exact_ranks, value_of
from picdesk.files import write_text, written_whole
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job, need_positive
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.measures.listing import higher_is_better, may_choose
from picdesk.pages.finish import finish, weights_of
from picdesk.pages.tuned import Tuned, outcome_of
from picdesk.retrieval.dataset import PARTS, World
from picdesk.retrieval.features import embed
from picdesk.retrieval.rerank_scores import scores_of
from picdesk.retrieval.tools import Sources
from picdesk.retrieval.weight_sweep import WeightSweep, grid
from picdesk.search.fusion import Mixture
from picdesk.text.cells import PeopleWriter
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


def tune_weights(cfg: DictConfig) -> float:
    """One job. Gives the metric on the tuning part under the chosen weights."""
    need_positive(cfg)
    direction, metric = wanted(cfg)
    check_all(cfg)
    if rule_of(cfg).active:
        refuse_reranker(
            cfg, f"task=tune_weights scores={rule_of(cfg).name} chooses the settings of the correction alone"
        )
        from picdesk.tasks.tune_scores import tune_scores

        return tune_scores(cfg, direction, metric)
    cfg, checkpoint = with_checkpoint(cfg)
    names = tuple(weights_of_parts(cfg))
    if all(str(node.get("_target_")).endswith(".Identity") for node in nodes_of(cfg).values()):
        raise ConfigError(
            "task=tune_weights: reranker=identity scores as the search does; choose one whose weight matters, or a correction: "
            "scores=nnn"
        )
    points = grid(len(names), cfg.tune_weights.steps)
    parts_of(cfg)
    world = shared.load_world(cfg)
    chosen_on, reported = world.part(str(cfg.tune_weights.part)), world.part(str(cfg.part))
    refuse_shared(chosen_on, reported, cfg)
    backbone, encoder = shared.load_backbone(cfg, checkpoint), shared.make_encoder(cfg)
    job = Job(cfg)
    with job.clock.stage("score candidates"):
        sweep = candidates_of(cfg, job, world, chosen_on, backbone, encoder, direction)
    with job.clock.stage("sweep weights"):
        tuned = swept(sweep, names, points, metric, str(cfg.tune_weights.rule))
    write_points(job, tuned)
    job.objective, job.measure = float(tuned.values[tuned.chosen]), f"{tuned.metric} on part={cfg.tune_weights.part}"
    with job.clock.stage("report"):
        features = shared.features_of(cfg, world, reported, backbone, encoder)
        sources = Sources.of(world, reported, backbone, encoder)
        both = [
            score_both(with_weights(cfg, weights), features, *embed(backbone, features), sources)
            for weights in (dict.fromkeys(names, 0.0), tuned.weights)
        ]
    chosen = with_weights(cfg, tuned.weights)
    outcome = outcome_of(cfg, tuned, both[0], both[1], weights_of(backbone, checkpoint) | contents(chosen))
    learned = learned_by(cfg, checkpoint, world)
    apart = without_look_alikes(cfg, world, reported, learned, both[1])
    notes = (*outcome.notes, *learned_note(learned, reported), *apart.notes)
    whole = replace(outcome, notes=notes, slices=apart.slices, extra={**outcome.extra, **apart.numbers})
    finish(job, chosen, world, reported, whole, encoder)
    return job.objective


def wanted(cfg: DictConfig) -> tuple[Direction, str]:
    """Direction and metric to choose by. Raises `ConfigError` where it would be made on what is reported."""
    settings = cfg.tune_weights
    if settings.part == cfg.part or "all" in (settings.part, cfg.part):
        raise ConfigError(
            f"tune_weights.part={settings.part}, part={cfg.part}: weights are chosen on one part and reported on another; "
            "choose on val, report on test"
        )
    if settings.part not in PARTS:
        raise ConfigError(f"tune_weights.part={settings.part}: choose one of {', '.join(PARTS[:2])}")
    if settings.part == "test":
        raise ConfigError("tune_weights.part=test: nothing is chosen on the test part; choose on val, report on test")
    if settings.part == "train" and cfg.ckpt:
        log.warning(
            "tune_weights.part=train: a checkpoint does better on what it was trained on; val shows what it is worth"
        )
    direction, _, metric = str(settings.metric).partition("/")
    if direction not in ("t2i", "i2t") or not may_choose(metric):
        known = ", ".join(higher_is_better())
        raise ConfigError(
            f"tune_weights.metric={settings.metric}: give t2i/ or i2t/ and one of {known}, as in t2i/hits@1"
        )
    if settings.rule not in RULES:
        raise ConfigError(f"tune_weights.rule={settings.rule}: choose one of {', '.join(RULES)}")
    return ("t2i" if direction == "t2i" else "i2t"), metric


def refuse_shared(chosen_on: Collection, reported: Collection, cfg: DictConfig) -> None:
    """Raise `DataError` if a picture is in both parts."""
    both = sorted(set(chosen_on.picture_ids) & set(reported.picture_ids))
    if both:
        raise DataError(
            f"tune_weights.part={cfg.tune_weights.part} and part={cfg.part} share {len(both)} pictures: {examples(both)}"
        )


def candidates_of(
    cfg: DictConfig,
    job: Job,
    world: World,
    part: Collection,
    backbone: TwoTower,
    encoder: Encoder,
    direction: Direction,
) -> WeightSweep:
    """Search the tuning part, score every candidate once, keep the scores in the job's folder."""
    fusion = build(cfg, "fusion")
    if not isinstance(fusion, Mixture):
        raise ConfigError(
            "fusion=single mixes nothing, so there is no weight to choose; use fusion=weighted_sum or rrf"
        )
    backbone = backbone.facing(direction)
    features = shared.features_of(cfg, world, part, backbone, encoder)
    texts, pictures = embed(backbone, features)
    asking = np.flatnonzero(np.bincount(features.picture_of, minlength=len(pictures.ids)))
    queries, items = (texts, pictures) if direction == "t2i" else (pictures.take(asking), texts)
    qrels = features.t2i if direction == "t2i" else features.i2t
    index = build(cfg, "index")
    index.build(items)
    run: Run = index.search(queries, min(int(cfg.top_k), len(items.ids)))
    sources = Sources.of(world, part, backbone, encoder)
    context = sources.tools.context(direction, *sources.sides(direction, queries, items))
    parts = parts_of(cfg)
    scores = {part.name: scores_of(part, run, context, sources.tools) for part in parts}
    empty = [name for name, own in scores.items() if np.isnan(own).all()]
    if empty:
        raise ConfigError(
            f"reranker {', '.join(empty)} scores nothing from {direction}: no weight of it changes anything"
        )
    with written_whole(job.folder / "scores.npz") as temporary, temporary.open("wb") as stream:
        ids = {"query_ids": np.array(run.query_ids), "item_ids": np.array(run.item_ids)}
        named = {f"rerank_{name}": own for name, own in scores.items()}
        np.savez_compressed(stream, index=run.index, similarity=run.scores, **ids, **named)  # type: ignore[arg-type]
    exact = exact_ranks(queries, items, qrels, direction=direction)
    return WeightSweep(fusion, run, list(scores.values()), qrels, exact)


def swept(
    sweep: WeightSweep, names: tuple[str, ...], points: Sequence[tuple[float, ...]], metric: str, rule: str
) -> Tuned:
    """The metric at every point, and the choice."""
    each = [value_of(sweep.ranks(point), metric) for point in points]
    cluster = sweep.base.cluster
    errors = np.array([standard_error(cluster, value) for value in each])
    chosen, best = choose(each, cluster, [sum(point) for point in points], rule)
    means = np.array([value.mean() for value in each])
    return Tuned(names, f"{sweep.base.direction}/{metric}", points, means, errors, chosen, best)


def with_weights(cfg: DictConfig, weights: Mapping[str, float]) -> DictConfig:
    """The config with these weights of its rerankers."""
    changed = cfg.copy()
    for name, weight in weights.items():
        key = f"reranker.parts.{name}.weight" if "parts" in cfg.reranker else "reranker.weight"
        OmegaConf.update(changed, key, float(weight))
    return changed


def write_points(job: Job, tuned: Tuned) -> None:
    """`weights.csv`: every point tried."""
    stream = io.StringIO()
    writer = PeopleWriter(stream, lineterminator="\n")
    writer.writerow([*tuned.names, tuned.metric, "standard_error", "chosen"])
    for i, point in enumerate(tuned.points):
        writer.writerow([*point, f"{tuned.values[i]:.6f}", f"{tuned.errors[i]:.6f}", int(i == tuned.chosen)])
    write_text(job.folder / "weights.csv", stream.getvalue())
