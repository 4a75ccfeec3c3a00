"""What a retrieval shows and leaves: the cards of the page, results.json, results.csv, run.trec, the terminal's table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from picdesk.files import write_json
from picdesk.interfaces import Direction
from picdesk.jobs.folder import Job
from picdesk.pages.outside import write_answers
from picdesk.readers.queries import Query
from picdesk.report.content import Fact, Item, QueryCard, Ranking, RetrievalPage
from picdesk.report.page import write_retrieval
from picdesk.report.terminal import print_retrieval
from picdesk.retrieval.catalogue import Catalogue
from picdesk.search.grouping import answered
from picdesk.trec.files import write_runs
from picdesk.trec.runs import Run

log = logging.getLogger(__name__)


def cards_of(
    run: Run, catalogue: Catalogue, queries: Sequence[Query], texts: Sequence[str], file: str
) -> list[QueryCard]:
    """What was found for each text, the true picture outlined where it is known; without texts, for the picture in `file`."""
    if not queries:
        return [QueryCard("q1", "i2t", (Ranking(found_in(run, 0, catalogue, "")),), picture="q1", note=file)]
    cards = []
    for row, query in enumerate(queries):
        true, asked = query.picture_id, str(query.fields["title"])
        found = found_in(run, row, catalogue, true)
        truth = (Item(true, catalogue.title(true), true, None, None, True),) if true in catalogue else ()
        rank = next((item.rank for item in found if item.relevant), None)
        note = "" if texts[row] == asked else f"encoded as: {texts[row]}"
        cards.append(QueryCard(query.id, "t2i", (Ranking(found, rank),), text=asked, truth=truth, note=note))
    return cards


def found_in(run: Run, row: int, catalogue: Catalogue, true: str) -> tuple[Item, ...]:
    """The items of one list as the page shows them."""
    listed = [(run.item_ids[i], float(s)) for i, s in zip(run.index[row], run.scores[row], strict=True) if i >= 0]
    return tuple(
        Item(name, catalogue.title(name), name if catalogue.direction == "t2i" else "", score, rank, name == true != "")
        for rank, (name, score) in enumerate(listed, 1)
    )


def write(
    job: Job,
    name: str,
    run: Run,
    cards: list[QueryCard],
    weights: dict[str, str],
    picture: bytes,
    read: Callable[[str], bytes],
) -> None:
    """results.json, results.csv, run.trec, the page, a submission where one is asked for; the terminal table."""
    direction: Direction = "t2i" if cards[0].direction == "t2i" else "i2t"
    job.write_config()
    write_json(job.folder / "results.json", [as_json(card) for card in cards])
    write_runs(job.folder / "run.trec", {direction: answered(run)})
    page = RetrievalPage(
        title=f"{len(cards):,} {'query' if len(cards) == 1 else 'queries'} · {name}",
        subtitle=f"{run.gallery_size:,} items searched by {weights['name']}",
        cards=tuple(cards),
        facts=(Fact("data", name), Fact("part", job.session.settings.part), Fact("backbone", weights["name"])),
        files=("results.json", "results.csv", "run.trec", "manifest.json", "config.yaml"),
    )
    write_retrieval(job.folder / "index.html", page, lambda item: picture if item == "q1" and picture else read(item))
    write_answers(job, run, read)
    print_retrieval(cards)
    log.info("retrieval page: %s", job.folder / "index.html")


def as_json(card: QueryCard) -> dict[str, Any]:
    """One query with its results, for results.json."""
    found = [
        {"rank": item.rank, "id": item.id, "score": item.score, "text": item.text} for item in card.rankings[0].found
    ]
    known = {"true_picture": card.truth[0].id, "true_rank": card.rankings[0].rank} if card.truth else {}
    return {"query_id": card.id, "query": card.text or card.note, **known, "results": found}
