"""Reported against measured: the table that says whether a number was had again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.box import MARKDOWN
from rich.table import Table

from picdesk.assembly.schema import Settings
from picdesk.errors import ConfigError
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.jobs.attempts import OutsideError
from picdesk.measures.listing import is_rank
from picdesk.report.content import Fact, VerdictTable
from picdesk.report.terminal import console
from picdesk.retrieval.scores import Scored

Scores = dict[Direction, Scored]
Reported = Mapping[str, Mapping[str, float]]


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


def compare_numbers(reported: Reported, scored: Scores, tolerance: float, where: str) -> list[Line]:
    """A line for each reported number, in the order of the tables. The tolerance is a share; of a rank it is that share of the
    reported rank.

    Raises `ConfigError` naming a direction or a metric that was not measured.
    """
    lines = []
    for direction, metrics in reported.items():
        if direction not in DIRECTIONS or direction not in scored:
            raise ConfigError(f"{where}.{direction}: not measured; directions here: {', '.join(scored)}")
        measured = scored[direction].metrics
        for name in metrics:
            if name not in measured:
                raise ConfigError(f"{where}.{direction}.{name}: not measured; choose of {', '.join(measured)}")
        for name in (name for name in measured if name in metrics):
            value = metrics[name]
            allowed = tolerance * value if is_rank(name) else tolerance
            lines.append(Line(f"{direction}/{name}", float(value), float(measured[name]), allowed))
    return lines


@dataclass(frozen=True)
class Verdict:
    """All lines, the tolerance that they were held against, and what is compared with what; `title` is that of the page."""

    lines: tuple[Line, ...]
    tolerance: float
    facts: Mapping[str, str]
    title: str = ""

    @property
    def outside(self) -> list[str]:
        """Names of the numbers that were not had again."""
        return [line.name for line in self.lines if line.verdict == "outside"]

    @property
    def summary(self) -> str:
        """How many numbers are the same to the last digit, and how many lie outside."""
        exact = sum(line.verdict == "exact" for line in self.lines)
        return f"{exact} of {len(self.lines)} exact, {len(self.outside)} outside the tolerance of {self.tolerance:g}"

    def as_json(self) -> dict[str, object]:
        """For verdict.json."""
        lines = [
            {
                "metric": line.name,
                "reported": line.reported,
                "measured": line.measured,
                "difference": line.difference,
                "verdict": line.verdict,
            }
            for line in self.lines
        ]
        return {"tolerance": self.tolerance, "summary": self.summary, **self.facts, "lines": lines}

    def table(self) -> VerdictTable:
        """For the head of the page."""
        rows = tuple((line.name, *digits(line), line.verdict) for line in self.lines)
        facts = tuple(Fact(name, text, wide=True) for name, text in self.facts.items())
        return VerdictTable(self.summary, not self.outside, rows, facts)

    def settle(self) -> None:
        """Print the table; raise `OutsideError` if a number lies outside the tolerance."""
        to = console()
        for name, fact in self.facts.items():
            to.print(f"{name}: {fact}", markup=False)
        box = None if to.is_terminal else MARKDOWN
        table = Table("metric", "reported", "measured", "difference", "verdict", box=box)
        for line in self.lines:
            table.add_row(line.name, *digits(line), line.verdict)
        to.print(table)
        to.print(self.summary, markup=False)
        if self.outside:
            names = ", ".join(self.outside)
            raise OutsideError(f"not reproduced: {names}: further than {self.tolerance:g} from the reported value")


Judge = Callable[[Settings, Scores], Verdict | None]


def digits(line: Line) -> tuple[str, str, str]:
    """Reported, measured and difference, as they are shown."""
    apart = f"{line.difference:+.2g}" if line.difference else "0"
    return f"{line.reported:.6g}", f"{line.measured:.6g}", apart


def judge_expected(settings: Settings, scored: Scores) -> Verdict | None:
    """Compare with the `expected` values, where there are any."""
    if not settings.expected:
        return None
    lines = compare_numbers(settings.expected, scored, settings.tolerance, "expected")
    facts = {**settings.protocol, "source": settings.source or "none given"}
    return Verdict(tuple(lines), settings.tolerance, facts)
