"""`evaluate.py task=tune_weights scores=RULE`: choose the settings of a score correction, or none, on one part; report once."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picdesk.assembly.again import with_correction
from picdesk.assembly.session import Session
from picdesk.collection import Collection
from picdesk.errors import ConfigError
from picdesk.evaluation.choosing import choose, standard_error
from picdesk.evaluation.metrics import exact_ranks, value_of
from picdesk.files import write_text
from picdesk.jobs.folder import Job
from picdesk.jobs.learned import learned_by, learned_note, without_look_alikes
from picdesk.pages.finish import Outcome, finish
from picdesk.pages.tuned import Choosing, difference_notes, differences_json, show_metrics
from picdesk.report.content import Note
from picdesk.retrieval.banks import in_one_dimension_more
from picdesk.retrieval.features import embed
from picdesk.retrieval.scores import ByDirection, differences_of
from picdesk.retrieval.system import sides_of
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

    def setting_text(self, place: int) -> str:
        """`k=64 weight=0.75`, or plain."""
        own = self.settings[place]
        return "plain" if own is None else " ".join(f"{key}={value:g}" for key, value in own.items())


def tune_scores(session: Session, by: Choosing) -> float:
    """One job. Gives the metric on the tuning part under the chosen settings."""
    rule = session.correction
    if rule.transductive:
        raise ConfigError(
            "scores.transductive=true: settings are chosen with the bank of a part; leave transductive out"
        )
    if rule.bank == by.part:
        raise ConfigError(
            f"scores.bank={rule.bank}, tune_weights.part={by.part}: queries may not correct their own scores; "
            "choose on val with a bank of train"
        )
    chosen_on, reported = session.dataset.part(by.part), session.part
    job = Job(session)
    with job.clock.stage("try settings"):
        tried = try_all(session, chosen_on, by)
    write_tried(job, tried, by.name)
    job.objective = float(tried.values[tried.chosen])
    job.measure = f"{by.name} on part={by.part}"
    chosen = with_correction(session, tried.settings[tried.chosen])
    with job.clock.stage("report"):
        features = session.features_of(reported)
        before = with_correction(session, None).system.evaluate(session.dataset, reported, features)
        corrected = tried.settings[tried.chosen] is not None
        after = chosen.system.evaluate(session.dataset, reported, features) if corrected else before
    outcome = outcome_of(session, by, rule, tried, before, after)
    learned = learned_by(session)
    apart = without_look_alikes(session, reported, learned, after)
    notes = (*outcome.notes, *learned_note(learned, reported), *apart.notes)
    extra = {**outcome.extra, **apart.numbers}
    whole = replace(outcome, notes=notes, slices=apart.slices, extra=extra, weights=session.weights())
    job.session = chosen
    finish(job, chosen, reported, whole)
    return job.objective


def try_all(session: Session, part: Collection, by: Choosing) -> Tried:
    """The metric on the tuning part without a correction and under all settings, by exact search."""
    features, rule, direction = session.features_of(part), session.correction, by.direction
    sources = Sources.of(session.dataset, part, session.backbone, session.encoder)
    queries, items, qrels = sides_of(features, *embed(session.backbone, features), sources)[direction]
    bank = session.system.banks(session.dataset, part.picture_ids).bank(direction, None, items.ids)
    settings: list[dict[str, float] | None] = [None, *settings_to_try(rule)]
    plain = exact_ranks(queries, items, qrels, direction=direction)
    each = [value_of(plain, by.metric)]
    for own in settings[1:]:
        said = with_correction(session, own).correction.fit(bank, blocks_of(items.matrix))
        ranks = exact_ranks(*in_one_dimension_more(queries, items, said), qrels, direction=direction)
        each.append(value_of(ranks, by.metric))
    errors = np.array([standard_error(plain.cluster, value) for value in each])
    costs = [float(own is not None) for own in settings]
    chosen, best = choose(each, plain.cluster, costs, by.rule)
    return Tried(settings, np.array([value.mean() for value in each]), errors, chosen, best)


def write_tried(job: Job, tried: Tried, metric: str) -> None:
    """`scores.csv`: every setting tried."""
    stream = io.StringIO()
    writer = PeopleWriter(stream, lineterminator="\n")
    writer.writerow(["scores", metric, "standard_error", "chosen"])
    for i, value in enumerate(tried.values):
        writer.writerow([tried.setting_text(i), f"{value:.6f}", f"{tried.errors[i]:.6f}", int(i == tried.chosen)])
    write_text(job.folder / "scores.csv", stream.getvalue())


def outcome_of(
    session: Session, by: Choosing, rule: Correction, tried: Tried, before: ByDirection, after: ByDirection
) -> Outcome:
    """What is reported: the scores as they are beside the corrected ones, and whether they really differ."""
    tests = differences_of(after, before, session.bars)
    told = (
        f"{rule.name}: chosen on {by.part} by {by.name} ({by.rule}): {tried.setting_text(tried.chosen)}, "
        f"{tried.values[tried.chosen]:.4f} ± {tried.errors[tried.chosen]:.4f} (plain {tried.values[0]:.4f}, highest "
        f"{tried.values[tried.best]:.4f} at {tried.setting_text(tried.best)}); of {len(tried.settings):,} settings tried on the "
        "data that chose, so these values flatter"
    )
    found = {
        "scores": rule.name,
        "settings": tried.settings[tried.chosen] or {},
        "corrected": tried.settings[tried.chosen] is not None,
        "metric": by.name,
        "rule": by.rule,
        "part": by.part,
        "value": float(tried.values[tried.chosen]),
        "standard_error": float(tried.errors[tried.chosen]),
        "plain": float(tried.values[0]),
        "best_value": float(tried.values[tried.best]),
        "best_settings": tried.settings[tried.best] or {},
    }
    name = f"{rule.name} {tried.setting_text(tried.chosen)}" if found["corrected"] else "plain"
    extra = {"tuned": found, "less_plain": differences_json(tests), "plain": show_metrics(before)}
    return Outcome(
        systems=[("plain", before, "other"), (f"chosen: {name}", after, "main")],
        weights={},
        notes=(Note(told), *difference_notes(tests, session.settings.part, "chosen scores less plain ones")),
        extra=extra,
    )
