"""`retrieve.py task=write_captions`: a language model writes captions for texts, by id, for `reranker=llm_rewriting`.

Every answer is kept as it comes, so a job that was stopped goes on where it was when it is run again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from picdesk.assembly.session import Session
from picdesk.collection import Fields
from picdesk.errors import ConfigError, DataError
from picdesk.files import digest_of, write_json
from picdesk.jobs.folder import Job
from picdesk.parts import config_part
from picdesk.readers.queries import only, read_queries
from picdesk.tasks.base import Task

log = logging.getLogger(__name__)


@config_part
@dataclass(kw_only=True)
class WriteCaptions(Task):
    """One job: captions.json, `{id: [captions]}`, of a file of `queries` (with `subset`, of some), or of the texts of a part."""

    takes_ckpt = False
    queries: str | None = None
    subset: str | None = None

    def run(self, session: Session) -> None:
        """Ask the language model for what it has not answered before."""
        write_captions(session.without_checkpoint(whole=True), self)

    def next_step(self, folder: Path) -> str:
        """How to use them was said."""
        return ""


def write_captions(session: Session, task: WriteCaptions) -> None:
    """Ask, keep, write."""
    ids, fields, texts = requests_for(session, task)
    writer = session.build("writing")
    job = Job(session)
    with job.clock.stage("write captions"):
        found = writer.write(ids, fields, texts)
    lost = writer.asker.unusable
    if not found:
        raise DataError(f"task=write_captions: none of the {len(ids)} answers could be used; see the answers' folder")
    job.write_config()
    write_json(job.folder / "captions.json", {name: list(captions) for name, captions in found.items()})
    write_json(job.folder / "unusable.json", list(lost))
    encoder = session.encoder
    encoder.counts.more |= writer.asker.counts
    model = {"name": writer.asker.model.name, "language_model": writer.asker.model.fingerprint()}
    data = {"texts": digest_of([list(ids), list(texts)])}
    job.write_manifest(data, model, encoder, len(lost))
    counts = writer.asker.counts
    log.info(
        "captions of %d of %d texts; %d calls, %d tokens read, %d written, %d answers kept from before",
        len(found),
        len(ids),
        counts["lm_calls"],
        counts["lm_tokens_in"],
        counts["lm_tokens_out"],
        counts["lm_cached"],
    )
    log.info("captions: %s (use it: reranker=llm_rewriting reranker.file=...)", job.folder / "captions.json")


def requests_for(session: Session, task: WriteCaptions) -> tuple[Sequence[str], Sequence[Fields], Sequence[str]]:
    """Ids, fields and texts to write captions for."""
    if task.queries:
        queries = only(read_queries(task.queries), task.subset)
        return (
            [query.id for query in queries],
            [query.fields for query in queries],
            [str(query.fields["title"]) for query in queries],
        )
    dataset, part = session.dataset, session.part
    if not part.text_ids:
        raise ConfigError(f"data={part.name}: this part has no texts to write captions for; give queries=FILE")
    return part.text_ids, part.texts, dataset.prompts(part)
