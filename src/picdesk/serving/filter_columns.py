"""What can be filtered by: the columns of what is searched, and a filter that somebody may begin with."""

from __future__ import annotations

from picdesk.errors import UserError
from picdesk.filters.columns import Columns
from picdesk.pages.show import PLAIN
from picdesk.serving.served import Served

LONGEST = 24


def columns_of(served: Served) -> Columns | None:
    """The columns of what was opened first; None where nothing is known of the items."""
    try:
        return served.gallery(served.first_find).columns
    except UserError:
        return None


def names_of(served: Served) -> list[str]:
    """Their names."""
    known = columns_of(served)
    return sorted(known.columns) if known is not None else []


def example_of(served: Served) -> str:
    """A filter that something fulfils: by an extra column where there is one; "" where there is nothing to filter by."""
    known = columns_of(served)
    if known is None:
        return ""
    extra = [name for name in known.columns if name not in PLAIN]
    for name in [*extra, *(name for name in known.columns if name in PLAIN)]:
        value = next((word for word in known.columns[name].words if word.isprintable() and len(word) <= LONGEST), None)
        if name.isidentifier() and value is not None:
            quoted = value.replace("'", "''")
            return f"{name} = '{quoted}'"
    return ""
