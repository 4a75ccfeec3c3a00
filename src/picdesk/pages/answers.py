"""What a retrieval shows and leaves: the cards of the page, results.json, results.csv, run.trec, the terminal's table."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from typing import Any

from picdesk.assembly.schema import Settings
from picdesk.errors import UserError
from picdesk.files import write_json, write_text
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job
from picdesk.pages import show
from picdesk.pages.outside import write_submission_of
from picdesk.pages.submitting import Near
from picdesk.readers.queries import Query
from picdesk.report.content import Fact, Item, Note, QueryCard, Ranking, RetrievalPage
from picdesk.report.page import write_retrieval
from picdesk.report.terminal import print_retrieval
from picdesk.retrieval.catalogue import Catalogue
from picdesk.search.grouping import drop_unanswered
from picdesk.submissions.asked import Submission
from picdesk.text.cells import PeopleWriter
from picdesk.trec.files import write_runs
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)
OF_THE_DATA = "set data."  # what is said of vectors names its own key
PRINTED = 5  # queries of a batch that the terminal shows
COLUMNS = ("query_id", "rank", "item_id", "score", "query", "text", "path")


def cards_of(
    run: Run, catalogue: Catalogue, queries: Sequence[Query], texts: Sequence[str], name: str, picture: bool = True
) -> list[QueryCard]:
    """What was found for each text, the true picture outlined where it is known; without texts, for the picture of that name, or
    for what is called so."""
    if not queries:
        listed = (Ranking(found_in(run, 0, catalogue, "")),)
        if not picture:
            return [QueryCard("q1", "i2t", listed, text=name)]
        return [QueryCard("q1", "i2t", listed, picture="q1", note=name)]
    cards = []
    for row, query in enumerate(queries):
        true, asked = query.picture_id, str(query.fields["title"])
        found = found_in(run, row, catalogue, true)
        truth = (item_of(true, catalogue, None, None, True),) if true in catalogue else ()
        rank = next((item.rank for item in found if item.relevant), None)
        note = "" if texts[row] == asked else f"encoded as: {texts[row]}"
        cards.append(QueryCard(query.id, "t2i", (Ranking(found, rank),), text=asked, truth=truth, note=note))
    return cards


def found_in(run: Run, row: int, catalogue: Catalogue, true: str) -> tuple[Item, ...]:
    """The items of one list as the page shows them."""
    return tuple(
        item_of(name, catalogue, score, rank, name == true != "")
        for rank, (name, score) in enumerate(listed_in(run, row), 1)
    )


def listed_in(run: Run, row: int) -> list[tuple[str, float]]:
    """The items of one list with their scores, best first."""
    rows, scores = run.index[row].tolist(), run.scores[row].tolist()
    return [(run.item_ids[i], score) for i, score in zip(rows, scores, strict=True) if i >= 0]


def item_of(name: str, catalogue: Catalogue, score: float | None, rank: int | None, relevant: bool) -> Item:
    """One item with what the catalogue has of it."""
    picture = name if catalogue.direction == "t2i" else ""
    details = show.details_of(catalogue.fields(name))
    return Item(name, catalogue.title(name), picture, score, rank, relevant, catalogue.file(name), details)


def write(
    job: Job,
    name: str,
    run: Run,
    cards: list[QueryCard],
    weights: dict[str, str],
    picture: bytes,
    read: Callable[[str], bytes],
    submission: Submission,
    near: Near | None = None,
) -> None:
    """results.json, results.csv, run.trec, the page, a submission where one is asked for; the terminal table."""
    direction: Direction = "t2i" if cards[0].direction == "t2i" else "i2t"
    job.write_config()
    write_json(job.folder / "results.json", [as_json(card) for card in cards])
    job.digests["run.trec"] = write_runs(job.folder / "run.trec", {direction: drop_unanswered(run)})
    unread = unreadable(cards, read)
    page = RetrievalPage(
        title=f"{len(cards):,} {'query' if len(cards) == 1 else 'queries'} · {name}",
        subtitle=f"{run.gallery_size:,} items searched by {weights['name']}",
        cards=tuple(cards),
        facts=facts_of(name, job.session.settings, weights["name"]),
        notes=(Note(unread, warning=True),) if unread else (),
        files=("results.json", "results.csv", "run.trec", "manifest.json", "config.yaml"),
    )
    write_retrieval(job.folder / "index.html", page, lambda item: picture if item == "q1" and picture else read(item))
    write_text(job.folder / "results.csv", as_csv(cards))
    write_submission_of(job, submission, run, read, near)
    print_retrieval(cards[:PRINTED])
    if len(cards) > PRINTED:
        log.info(
            "not printed: %d of the queries; all answers are in %s", len(cards) - PRINTED, job.folder / "results.csv"
        )
    if unread:
        log.warning("%s", unread)
    log.info("retrieval page: %s", job.folder / "index.html")


def facts_of(name: str, settings: Settings, backbone: str) -> tuple[Fact, ...]:
    """What heads the page: data set, part, backbone, and the filter where there is one."""
    facts = (Fact("data", name), Fact("part", settings.part), Fact("backbone", backbone))
    return (*facts, Fact("filter", settings.filter)) if settings.filter else facts


def unreadable(cards: Sequence[QueryCard], read: Callable[[str], bytes]) -> str:
    """Why the pictures that were found cannot be shown, and what helps; "" where the first of them can be read."""
    first = next((item.picture for card in cards for item in card.rankings[0].found if item.picture), "")
    if not first:
        return ""
    try:
        read(first)
    except (KeyError, OSError, UserError) as error:
        why = str(error) if isinstance(error, UserError) else f"{first} is not in the data set"
        remedy = "" if OF_THE_DATA in why else ". Name where they are: data.root=FOLDER"
        return f"Pictures cannot be shown, so their ids and captions stand alone ({why}){remedy}"
    return ""


def as_json(card: QueryCard) -> dict[str, Any]:
    """One query with its results, for results.json."""
    found = [
        {"rank": item.rank, "id": item.id, "score": item.score, "text": item.text, **further_facts(item)}
        for item in card.rankings[0].found
    ]
    known = {"true_picture": card.truth[0].id, "true_rank": card.rankings[0].rank} if card.truth else {}
    return {"query_id": card.id, "query": card.text or card.note, **known, "results": found}


def further_facts(item: Item) -> dict[str, Any]:
    """Path and further columns of an item, as far as there are any."""
    return ({"path": item.file} if item.file else {}) | ({"columns": dict(item.details)} if item.details else {})


def as_csv(cards: Sequence[QueryCard]) -> str:
    """The same as lines of a table: query, rank, item, score, its text, its path, and the data set's further columns."""
    found = [(card, item) for card in cards for item in card.rankings[0].found]
    more = list(dict.fromkeys(name for _, item in found for name in item.details))
    stream = io.StringIO()
    writer = PeopleWriter(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"data.{name}" if name in COLUMNS else name for name in more)])
    for card, item in found:
        cells = [card.id, item.rank, item.id, f"{item.score:.6f}", card.text or card.note, item.text, item.file]
        writer.writerow([*cells, *(item.details.get(name, "") for name in more)])
    return stream.getvalue()
