"""`evaluate.py task=tune_weights`: choose the weights of the rerankers on one part, report them once on another."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from picdesk.assembly.again import with_weights
from picdesk.assembly.schema import Settings
from picdesk.assembly.session import Session
from picdesk.collection import Collection
from picdesk.data.splits import PARTS
from picdesk.errors import ConfigError, DataError, examples
from picdesk.evaluation.choosing import RULES, choose, standard_error
from picdesk.evaluation.metrics import exact_ranks, value_of
from picdesk.files import write_text, written_whole
from picdesk.filters.columns import columns_of
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job, need_positive
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.measures.listing import higher_is_better, may_choose
from picdesk.pages.finish import finish
from picdesk.pages.tuned import Choosing, Tuned, outcome_of
from picdesk.parts import config_part
from picdesk.retrieval.features import embed
from picdesk.retrieval.rerank_scores import scores_of
from picdesk.retrieval.system import sides_of
from picdesk.retrieval.tools import Sources
from picdesk.retrieval.weight_sweep import WeightSweep, grid
from picdesk.search.fusion import Mixture
from picdesk.search.hybrid import find_scored
from picdesk.tasks.base import Task
from picdesk.tasks.tune_scores import tune_scores
from picdesk.text.cells import PeopleWriter

log = logging.getLogger(__name__)


@config_part
@dataclass(kw_only=True)
class TuneWeights(Task):
    """One job. Gives the metric on the tuning part under what was chosen.

    Chosen is on `part`, by `metric` and `rule` (one_se, paired, best), in so many `steps` of each weight.
    """

    leaves_out_folds = True
    part: str = "val"
    metric: str = "t2i/hits@1"
    rule: str = "one_se"
    steps: int | None = None

    def run(self, session: Session) -> float:
        """Choose the weights of the rerankers, or the settings of a score correction where one is chosen."""
        need_positive(session.settings)
        choosing = what_to_choose(self, session.settings)
        session = session.open()
        if not session.correction.active:
            return tune_weights(session, choosing, self.steps)
        told = f"task=tune_weights scores={session.correction.name} chooses the settings of the correction alone"
        session.rerankers.refuse(told)
        return tune_scores(session, choosing)


def tune_weights(session: Session, choosing: Choosing, steps: int | None) -> float:
    """Try every weight on the tuning part, report the chosen ones on the other."""
    settings, names = session.settings, tuple(session.rerankers.weights)
    points = grid(len(names), steps)
    if not any(part.reranker.changes_order for part in session.rerankers.parts()):
        raise ConfigError(
            "task=tune_weights: reranker=identity scores as the search does; choose one whose weight matters, or a correction: "
            "scores=nnn"
        )
    chosen_on, reported = session.dataset.part(choosing.part), session.part
    refuse_shared(chosen_on, reported, choosing.part, settings.part)
    session.rerankers.check_fit(session.backbone.name, session.backbone.tuned)
    job = Job(session)
    with job.clock.stage("score candidates"):
        sweep = candidates_of(session, job, chosen_on, choosing.direction)
    with job.clock.stage("sweep weights"):
        tuned = sweep_weights(sweep, names, points, choosing.metric, choosing.rule)
    write_points(job, tuned)
    job.objective = float(tuned.values[tuned.chosen])
    job.measure = f"{tuned.metric} on part={choosing.part}"
    chosen = with_weights(session, tuned.weights)
    with job.clock.stage("report"):
        features = session.features_of(reported)
        alone = with_weights(session, dict.fromkeys(names, 0.0))
        both = [one.system.evaluate(session.dataset, reported, features) for one in (alone, chosen)]
    outcome = outcome_of(session, choosing, tuned, both[0], both[1], session.weights() | chosen.rerankers.contents())
    learned = learned_by(session)
    apart = without_look_alikes(session, reported, learned, both[1])
    notes = (*outcome.notes, *learned_note(learned, reported), *apart.notes)
    whole = replace(outcome, notes=notes, slices=apart.slices, extra={**outcome.extra, **apart.numbers})
    job.session = chosen
    finish(job, chosen, reported, whole)
    return job.objective


def what_to_choose(tune: TuneWeights, settings: Settings) -> Choosing:
    """By what is chosen, and on which part. Raises `ConfigError` where that would be what is reported."""
    part = settings.part
    if tune.part == part or "all" in (tune.part, part):
        raise ConfigError(
            f"tune_weights.part={tune.part}, part={part}: weights are chosen on one part and reported on another; "
            "choose on val, report on test"
        )
    if tune.part not in PARTS:
        raise ConfigError(f"tune_weights.part={tune.part}: choose one of {', '.join(PARTS[:2])}")
    if tune.part == "test":
        raise ConfigError("tune_weights.part=test: nothing is chosen on the test part; choose on val, report on test")
    if tune.part == "train" and settings.ckpt:
        log.warning(
            "tune_weights.part=train: a checkpoint does better on what it was trained on; val shows what it is worth"
        )
    direction, _, metric = tune.metric.partition("/")
    if direction not in ("t2i", "i2t") or not may_choose(metric):
        known = ", ".join(higher_is_better())
        raise ConfigError(f"tune_weights.metric={tune.metric}: give t2i/ or i2t/ and one of {known}, as in t2i/hits@1")
    if tune.rule not in RULES:
        raise ConfigError(f"tune_weights.rule={tune.rule}: choose one of {', '.join(RULES)}")
    return Choosing("t2i" if direction == "t2i" else "i2t", metric, tune.part, tune.rule)


def refuse_shared(chosen_on: Collection, reported: Collection, tuned_part: str, part: str) -> None:
    """Raise `DataError` if a picture is in both parts."""
    both = sorted(set(chosen_on.picture_ids) & set(reported.picture_ids))
    if both:
        told = f"tune_weights.part={tuned_part} and part={part} share {len(both)} pictures"
        raise DataError(f"{told}: {examples(both)}")


def candidates_of(session: Session, job: Job, part: Collection, direction: Direction) -> WeightSweep:
    """Search the tuning part, score every candidate once, keep the scores in the job's folder."""
    fusion: Mixture = session.build("fusion")
    if not fusion.mixes:
        raise ConfigError(
            "fusion=single mixes nothing, so there is no weight to choose; use fusion=weighted_sum or rrf"
        )
    features = session.features_of(part)
    sources = Sources.of(session.dataset, part, session.backbone, session.encoder)
    queries, items, qrels = sides_of(features, *embed(session.backbone, features), sources)[direction]
    asked, searched = sources.sides(direction, queries, items)
    index = session.system.index_items(searched, lambda: columns_of(part, direction), len(queries.ids))
    run = find_scored(index, asked, min(session.settings.top_k, len(items.ids)))
    context = sources.tools.context(direction, asked, searched)
    scores = {one.name: scores_of(one, run, context, sources.tools) for one in session.rerankers.parts()}
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


def sweep_weights(
    sweep: WeightSweep, names: tuple[str, ...], points: Sequence[tuple[float, ...]], metric: str, rule: str
) -> Tuned:
    """The metric at every point, and the choice."""
    each = [value_of(sweep.ranks(point), metric) for point in points]
    cluster = sweep.base.cluster
    errors = np.array([standard_error(cluster, value) for value in each])
    chosen, best = choose(each, cluster, [sum(point) for point in points], rule)
    means = np.array([value.mean() for value in each])
    return Tuned(names, f"{sweep.base.direction}/{metric}", points, means, errors, chosen, best)


def write_points(job: Job, tuned: Tuned) -> None:
    """`weights.csv`: every point tried."""
    stream = io.StringIO()
    writer = PeopleWriter(stream, lineterminator="\n")
    writer.writerow([*tuned.names, tuned.metric, "standard_error", "chosen"])
    for i, point in enumerate(tuned.points):
        writer.writerow([*point, f"{tuned.values[i]:.6f}", f"{tuned.errors[i]:.6f}", int(i == tuned.chosen)])
    write_text(job.folder / "weights.csv", stream.getvalue())
