"""Questions that the page offers to whoever does not know yet what to ask."""

from __future__ import annotations

from picdesk.serving.desk import Desk
from picdesk.serving.served import Served

OFFERED = 6
LONGEST = 90


def examples_of(desk: Desk, served: Served) -> list[str]:
    """Some headlines of `serve.examples`, else some texts of the data set, whose true picture is known; spread over all."""
    return spread_texts([text for text in desk.headlines if len(text) <= LONGEST]) or spread_texts(own_texts(served))


def own_texts(served: Served) -> list[str]:
    """Texts of the data set that one picture has, in their order, shown as they are written."""
    collection = served.pictures.collection
    if collection is None:
        return []
    step = max(1, len(collection.texts) // (4 * OFFERED))
    texts = [str(fields.get("title") or fields.get("caption") or "") for fields in collection.texts[::step]]
    return [text for text in texts if 8 <= len(text) <= LONGEST]


def spread_texts(texts: list[str]) -> list[str]:
    """At most `OFFERED` of them, from all over the list."""
    step = max(1, len(texts) // OFFERED)
    return list(dict.fromkeys(texts[::step]))[:OFFERED]
