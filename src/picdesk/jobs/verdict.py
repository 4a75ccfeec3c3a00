"""Reported against measured: the table that says whether a number was had again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.box import MARKDOWN
from rich.table import Table

from picdesk.assembly.schema import Settings
from picdesk.errors import ConfigError
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.attempts import OutsideError
from picdesk.report.terminal import console
from picdesk.retrieval.scores import Scored

Scores = dict[Direction, Scored]
Judge = Callable[[Settings, Scores], None]
Reported = Mapping[str, Mapping[str, float]]
RANKS = ("median_rank", "mean_rank")


@dataclass(frozen=True)
class Line:
    """One metric of one direction, as reported and as measured, and how far apart the two may be."""

    name: str
    reported: float
    measured: float
    allowed: float

    @property
    def difference(self) -> float:
        """Measured less reported."""
        return self.measured - self.reported

    @property
    def verdict(self) -> str:
        """`exact`, `within tolerance` or `outside`."""
        if self.difference == 0:
            return "exact"
        return "within tolerance" if abs(self.difference) <= self.allowed * (1 + 1e-9) else "outside"


def compared(reported: Reported, scored: Scores, tolerance: float, where: str) -> list[Line]:
    """A line for each reported number. The tolerance is a share; of a rank it is that share of the reported rank.

    Raises `ConfigError` naming a direction or a metric that was not measured.
    """
    lines = []
    for direction, metrics in reported.items():
        if direction not in DIRECTIONS or direction not in scored:
            raise ConfigError(f"{where}.{direction}: not measured; directions here: {', '.join(scored)}")
        measured = scored[direction].metrics
        for name, value in metrics.items():
            if name not in measured:
                raise ConfigError(f"{where}.{direction}.{name}: not measured; choose of {', '.join(measured)}")
            allowed = tolerance * value if name in RANKS else tolerance
            lines.append(Line(f"{direction}/{name}", float(value), float(measured[name]), allowed))
    return lines


def judge(lines: Sequence[Line], tolerance: float, facts: Mapping[str, str]) -> None:
    """Print the table; raise `OutsideError` if a number lies outside the tolerance."""
    to = console()
    for name, fact in facts.items():
        to.print(f"{name}: {fact}", markup=False)
    table = Table("metric", "reported", "measured", "difference", "verdict", box=None if to.is_terminal else MARKDOWN)
    for line in lines:
        numbers = (
            f"{line.reported:.6g}",
            f"{line.measured:.6g}",
            f"{line.difference:+.2g}" if line.difference else "0",
        )
        table.add_row(line.name, *numbers, line.verdict)
    to.print(table)
    outside = [line.name for line in lines if line.verdict == "outside"]
    exact = sum(line.verdict == "exact" for line in lines)
    to.print(f"{exact} of {len(lines)} exact, {len(outside)} outside the tolerance of {tolerance:g}", markup=False)
    if outside:
        raise OutsideError(f"not reproduced: {', '.join(outside)}: further than {tolerance:g} from the reported value")


def judge_expected(settings: Settings, scored: Scores) -> None:
    """Compare with the `expected` values, where there are any."""
    if not settings.expected:
        return
    lines = compared(settings.expected, scored, settings.tolerance, "expected")
    judge(lines, settings.tolerance, {**settings.protocol, "source": settings.source or "none given"})
