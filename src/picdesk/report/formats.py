"""Numbers and texts as readers see them: one place, so that terminal, page and plots say the same."""

from picdesk.report.measured_values import Column, Value

NOTHING = "–"
MOST_SHOWN = 2000  # letters of a text on a page, where it stands several times


def number(value: float | None, digits: int = 3) -> str:
    """Fixed decimals, thousands apart: `0.412`, `1,234.5`; a dash for None."""
    if value is None:
        return NOTHING
    text = f"{value:,.{digits}f}"
    return text if text.strip("-0.,") else text.lstrip("-")


def setting(text: str, digits: int = 4) -> str:
    """A config value as a table shows it: a number of many digits by its first four, anything else as it stands."""
    try:
        value = float(text)
    except ValueError:
        return text
    short = f"{value:.{digits}g}"
    return short if len(short) < len(text) else text


def interval(value: Value, column: Column) -> str:
    """`[0.391, 0.434]`, or nothing."""
    if value.low is None or value.high is None:
        return ""
    return f"[{number(value.low, column.digits)}, {number(value.high, column.digits)}]"


def cell(value: Value | None, column: Column) -> str:
    """`0.412 [0.391, 0.434]`, `0.412`, or a dash."""
    if value is None:
        return NOTHING
    return f"{number(value.value, column.digits)} {interval(value, column)}".rstrip()


def rank(value: int | None, gallery_size: int | None = None) -> str:
    """`rank 37`, `rank 37 of 1,000`, or a dash."""
    if value is None:
        return NOTHING
    return f"rank {value:,}" + (f" of {gallery_size:,}" if gallery_size else "")


def shown(text: str, most: int = MOST_SHOWN) -> str:
    """A text of the data as a page shows it: the beginning of one that is longer than anybody reads there, and an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
