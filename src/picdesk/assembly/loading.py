"""From what a reader gives to the data set of a job: checked, what is left out told, its prompt chosen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from picdesk.collection import Collection
from picdesk.data.checks import Splits
from picdesk.errors import ConfigError, examples
from picdesk.retrieval.dataset import PARTS, QUERY_FIELDS, Dataset

log = logging.getLogger(__name__)
MakePrompt = Callable[[], Any]


def dataset_of(
    collection: Collection, splits: Splits, notes: tuple[str, ...], make_prompt: MakePrompt, asked: bool, key: str
) -> Dataset:
    """The data set with its parts and its prompt; `asked` where texts come from outside."""
    if collection.skipped:
        shown = examples([f"{item.item}: {item.reason}" for item in collection.skipped], 1)
        told = "data=%s: %d items left out, the first: %s (all: task=check)"
        log.warning(told, collection.name, len(collection.skipped), shown)
    for note in (*collection.notes, *notes):
        log.info("data=%s: %s", collection.name, note)
    collection = gallery_if_asked(collection, make_prompt) if asked else collection
    names = collection.field_names()
    prompt = make_prompt().choose(names) if names else None
    log.info(
        "data=%s: %s pictures, %s texts; %s; prompt: %s",
        collection.name,
        f"{len(collection.picture_ids):,}",
        f"{len(collection.text_ids):,}",
        ", ".join(f"{name} {len(splits[name]):,}" for name in PARTS[:3]),
        getattr(prompt, "name", "none"),
    )
    return Dataset(collection, splits, prompt, key, notes)


def gallery_if_asked(collection: Collection, make_prompt: MakePrompt) -> Collection:
    """The collection; without its texts where texts come from outside and their prompt does not suit those of the collection."""
    names = collection.field_names()
    if not names:
        return collection
    try:
        make_prompt().choose(names)
    except ConfigError:
        make_prompt().choose(QUERY_FIELDS)
        vectors = dict(collection.vectors)
        vectors.pop("text", None)
        return replace(collection, text_ids=(), texts=(), picture_of=np.empty(0, np.int64), vectors=vectors)
    return collection
