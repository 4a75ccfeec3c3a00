"""How far the work has come: a bar with rate and time left on a terminal, else a line every half minute."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

EVERY_S = 30.0
log = logging.getLogger(__name__)


class Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """`123/s`, or a dash before the first item is through."""
        return Text(f"{task.speed:.0f}/s" if task.speed else "-/s")


@contextmanager
def progress(title: str, total: int, every_s: float = EVERY_S) -> Iterator[Callable[[int], None]]:
    """Give a function that counts items: it moves a bar, or logs a line every `every_s` seconds where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(title, total, every_s).advance
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(title, total=total)
        yield lambda steps: shown.advance(task, steps)


class Lines:
    """Says in a log from time to time how far the work has come: `encoding images: 1,200 of 6,000 (13/s, 6 min left)`."""

    def __init__(self, title: str, total: int, every_s: float) -> None:
        self.title = title
        self.total = total
        self.every_s = every_s
        self.done = 0
        self.begun = self.said = time.monotonic()

    def advance(self, steps: int) -> None:
        """Count `steps` more items, and say so if it is time."""
        self.done += steps
        now = time.monotonic()
        if now - self.said < self.every_s or self.done >= self.total:
            return
        self.said = now
        rate = self.done / (now - self.begun)
        log.info(
            "%s: %s of %s (%s, %s left)",
            *(self.title, f"{self.done:,}", f"{self.total:,}"),
            *(pace(rate), span((self.total - self.done) / rate)),
        )


def pace(rate: float) -> str:
    """`13/s`, or `4/min` for what is slow."""
    return f"{rate:.0f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"


def span(seconds: float) -> str:
    """`40 s`, `6 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
