"""`evaluate.py task=captioner`: captions as the bridge between texts and pictures, scored in both directions, and BLEU.

The first caption of each picture asks; the others are what is known of the pictures. Text to picture: the asking caption is
compared with all known ones, and a picture scores by its best. Picture to text: the picture stands for one sentence, out of
`captions_file`, written by the captioning model, or (without either) its asking caption, which is compared with the known ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.assembly.session import Session
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.data.images import named_picture
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError, DataError, examples
from picdesk.evaluation.bleu import bleu
from picdesk.evaluation.metrics import add_tail, exact_ranks, metrics_of
from picdesk.evaluation.ranks import align, locate, ranks_of_run
from picdesk.evaluation.statistics import Interval
from picdesk.files import file_digest
from picdesk.interfaces import Direction, Embeddings, Side
from picdesk.jobs.folder import Job, need_positive
from picdesk.pages import finish, show
from picdesk.pages.notes import level_note
from picdesk.parts import config_part
from picdesk.readers.queries import read_captions
from picdesk.report.content import JobPage, Note
from picdesk.report.page import write_job
from picdesk.report.terminal import print_metrics
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import head
from picdesk.retrieval.scores import Bars, ByDirection, Scored, flat_metrics, mean_hits, score, shorten_run
from picdesk.search.grouping import at_least, best_part_run
from picdesk.tasks.base import Task
from picdesk.trec.runs import Qrels, Tail

log = logging.getLogger(__name__)
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Bridge:
    """Rows of one part's texts: `asked` (one a picture), `known` (the others), and one sentence for each picture of `said`."""

    part: Collection
    asked: Rows
    known: Rows
    said: Mapping[int, str]
    source: str


@config_part
@dataclass(kw_only=True)
class ByCaptions(Task):
    """One job. Gives the mean hits@1 of both directions. `captions_file`: sentences that stand for the pictures."""

    takes_min_score = True
    takes_ckpt = False
    captions_file: str | None = None

    def run(self, session: Session) -> float:
        """Caption, encode, compare, score."""
        need_positive(session.settings)
        return by_captions(session.without_checkpoint(), self.captions_file)


def by_captions(session: Session, file: str | None) -> float:
    """One job by the sentences of a file, or by those that a captioning model writes, or by the first captions."""
    session.rerankers.refuse("task=captioner compares captions and nothing else")
    dataset, backbone, encoder, settings = session.dataset, session.backbone, session.encoder, session.settings
    if not backbone.compares_captions:
        raise ConfigError(f"task=captioner needs backbone=captioner or backbone=sentences; this one is {backbone.name}")
    job = Job(session)
    with job.clock.stage("caption and encode"):
        bridge = build_bridge(session, backbone, file)
        vectors = sentence_vectors(dataset, bridge, backbone, encoder)
    with job.clock.stage("retrieve and score"):
        scored: dict[Direction, Scored] = {
            "t2i": to_pictures(session, bridge, vectors),
            "i2t": to_texts(session, bridge, vectors),
        }
    extra = {"captions": about_captions(dataset, bridge, session.bars)} | threshold(settings.min_score, scored)
    weights = session.weights()
    weights |= {"captions_file": file_digest(file)} if file else {}
    write(job, bridge, scored, extra, weights)
    return mean_hits(list(scored.values()))


def build_bridge(session: Session, backbone: TwoTower, file: str | None) -> Bridge:
    """Part the captions into those that ask and those that are known, and say a sentence for each picture."""
    dataset, part = session.dataset, session.part
    if not len(part.picture_of):
        raise ConfigError(f"data={part.name}: this part has no texts; task=captioner compares captions")
    asked, prompts = np.unique(part.picture_of, return_index=True)[1], dataset.prompts(part)
    if file:
        said, source = given_captions(file, part), file
    elif backbone.by_captions:
        said, source = {int(part.picture_of[j]): prompts[j] for j in asked}, "the first caption of each picture"
    else:
        said, source = written_captions(part, backbone, session.settings.encode.max_pixels), backbone.name
    known = np.setdiff1d(np.arange(len(part.text_ids)), asked)
    own = [j for j in known if said.get(int(part.picture_of[j])) == prompts[j]]
    if own:
        log.info("%d captions are not searched, as they are word for word what stands for their picture", len(own))
    known = np.setdiff1d(known, own)
    asked = asked[np.isin(part.picture_of[asked], part.picture_of[known])]
    if not len(known):
        raise DataError(f"data={part.name}: one caption a picture leaves none to compare with; two or more are needed")
    return Bridge(part, asked, known, said, source)


def given_captions(file: str, part: Collection) -> dict[int, str]:
    """Sentences from a file of two columns, picture id and caption; some pictures may be absent, none may be unknown to both."""
    captions = read_captions(file)
    place = {name: i for i, name in enumerate(part.picture_ids)}
    found = {place[name]: text for name, text in captions.items() if name in place}
    if not found:
        raise DataError(
            f"captions_file={file}: none of its {len(captions)} pictures is in data={part.name}; "
            f"it names {examples(captions)}, the data set {examples(part.picture_ids)}"
        )
    if len(found) < len(captions):
        others = examples([name for name in captions if name not in place])
        log.warning(
            "captions_file=%s: %d of %d captions are of no picture of this part: %s",
            file,
            len(captions) - len(found),
            len(captions),
            others,
        )
    if len(found) < len(place):
        log.warning("captions_file=%s: no caption for %d of %d pictures", file, len(place) - len(found), len(place))
    return found


def written_captions(part: Collection, backbone: TwoTower, max_pixels: int) -> dict[int, str]:
    """Sentences by the captioning model, one picture after the other. Raises `DataError` naming one that cannot be decoded."""
    shown = (named_picture(part.pictures.read(i), name, max_pixels) for i, name in enumerate(part.picture_ids))
    return {i: backbone.captions([picture])[0] for i, picture in enumerate(shown)}


@dataclass(frozen=True)
class Vectors:
    """Sentence embeddings: of the asking captions, of the known ones, and of what stands for the pictures."""

    asked: Embeddings
    known: Embeddings
    said: Embeddings


def sentence_vectors(dataset: Dataset, bridge: Bridge, backbone: TwoTower, encoder: Encoder) -> Vectors:
    """Encode every caption once, through the store."""
    part, prompts = bridge.part, dataset.prompts(bridge.part)
    said = sorted(bridge.said)
    every = head(backbone, "text", encoder.texts(backbone, [*prompts, *(bridge.said[i] for i in said)]))

    def rows_of(rows: Rows) -> Embeddings:
        return Embeddings(tuple(part.text_ids[j] for j in rows), every[rows])

    pictures = Embeddings(tuple(part.picture_ids[i] for i in said), every[len(prompts) :])
    return Vectors(rows_of(bridge.asked), rows_of(bridge.known), pictures)


def to_pictures(session: Session, bridge: Bridge, vectors: Vectors) -> Scored:
    """Asking captions to pictures, each by its best known caption."""
    part = bridge.part
    run = best_part_run(
        vectors.asked, vectors.known, part.picture_of[bridge.known], part.picture_ids, len(part.picture_ids)
    )
    relevant = part.picture_of[bridge.asked]
    qrels = Qrels.from_pairs(vectors.asked.ids, part.picture_ids, np.arange(len(relevant)), relevant)
    query, item = align(run, qrels)
    place = locate(run, query[qrels.query_of], item[qrels.items]).place
    exact = replace(ranks_of_run(run, qrels, "t2i"), scores=run.scores[query[qrels.query_of], place])
    listed = shorten_run(run, session.settings.run_depth)
    return score("t2i", add_tail(listed, exact, qrels), qrels, session.bars, session.metrics)


def to_texts(session: Session, bridge: Bridge, vectors: Vectors) -> Scored:
    """Pictures, by the sentence that stands for each, to the known captions: the ordinary search."""
    part, owner = bridge.part, bridge.part.picture_of[bridge.known]
    said = np.array(sorted(bridge.said), np.int64)
    asking = np.flatnonzero(np.isin(said, owner))
    queries, known = vectors.said.take(asking), vectors.known
    row_of = np.full(len(part.picture_ids), -1, np.int64)
    row_of[said[asking]] = np.arange(len(asking))
    columns = np.flatnonzero(row_of[owner] >= 0)
    qrels = Qrels.from_pairs(queries.ids, known.ids, row_of[owner[columns]], columns)
    run, _, _ = session.system.time_search("i2t", Side(queries.ids, queries), Side(known.ids, known))
    exact = exact_ranks(queries, known, qrels, direction="i2t")
    return score("i2t", add_tail(run, exact, qrels), qrels, session.bars, session.metrics)


def threshold(min_score: float | None, scored: ByDirection) -> dict[str, Any]:
    """With `min_score`: how many texts are answered at all, and what hits@k comes to when weaker answers are not given."""
    if min_score is None:
        return {}
    listed = scored["t2i"].run
    cut = at_least(replace(listed, tail=Tail()), min_score)
    ranks = replace(ranks_of_run(cut, scored["t2i"].qrels, "t2i"), depth=cut.gallery_size)  # what is cut is not found
    found = {name: value for name, value in metrics_of(ranks).items() if name.startswith("hits@")}
    answered = float((cut.index[:, 0] >= 0).mean())
    log.info(
        "min_score=%g: %.1f%% of the texts are answered; t2i %s",
        min_score,
        100 * answered,
        ", ".join(f"{name} {value:.3f}" for name, value in found.items()),
    )
    return {"min_score": {"threshold": min_score, "answered": answered, "t2i": found}}


def about_captions(dataset: Dataset, bridge: Bridge, bars: Bars) -> dict[str, Any]:
    """BLEU of what stands for the pictures, against the known captions of each."""
    prompts, owner = dataset.prompts(bridge.part), bridge.part.picture_of[bridge.known]
    references: dict[int, list[str]] = {}
    for j, i in zip(bridge.known, owner, strict=True):
        references.setdefault(int(i), []).append(prompts[j])
    rows = [i for i in sorted(bridge.said) if i in references]
    said, known = [bridge.said[i] for i in rows], [references[i] for i in rows]
    found, signature = bleu(said, known, bars.resamples, bars.seed, bars.level)
    log.info("captions by %s: BLEU %s over %d pictures (%s)", bridge.source, found, len(rows), signature)
    return {"bleu": found.value, "interval": [found.low, found.high], "pictures": len(rows), "signature": signature}


def write(
    job: Job, bridge: Bridge, scored: dict[Direction, Scored], extra: dict[str, Any], weights: dict[str, str]
) -> None:
    """Files, tables, page."""
    part, session = bridge.part, job.session
    dataset, settings, encoder = session.dataset, session.settings, session.encoder
    job.objective = mean_hits(list(scored.values()))
    job.write_config()
    job.write_lists(scored)
    job.write_metrics(scored, extra)
    job.logger.log_metrics(flat_metrics(scored))
    job.logger.finish()
    sides = {"t2i": part.with_texts(bridge.asked), "i2t": part.with_texts(bridge.known)}
    groups = [
        group
        for direction, one in scored.items()
        for group in show.card_groups(
            sides[direction],
            dataset.prompts(sides[direction]),
            {direction: one},
            settings.shown,
        )
    ]
    told = extra["captions"]
    bar = Interval(told["bleu"], told["interval"][0], told["interval"][1], digits=1)
    tables = show.metric_tables([("by captions", scored, "main")])
    notes = level_note(session.bars.level)
    page = JobPage(
        title=f"{part.name}: captions between texts and pictures",
        subtitle=f"{settings.part} part · {weights['name']}",
        task="captioner",
        facts=finish.facts(session, job, weights),
        tables=tables,
        ranks=show.rank_charts(scored),
        groups=tuple(groups),
        notes=(
            *notes,
            Note(f"What stands for the pictures ({bridge.source}) has BLEU {bar} against their known captions."),
        ),
        files=finish.FILES,
    )
    write_job(job.folder / "index.html", page, show.picture_reader(part))
    job.write_manifest(session.fingerprint(part), weights, encoder, len(dataset.collection.skipped))
    print_metrics(tables)
    for note in notes:
        log.warning("%s", note.text)
    log.info("report page: %s", job.folder / "index.html")
