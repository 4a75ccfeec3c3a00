"""Reported against measured: the table that says whether a number was had again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from picdesk.assembly.schema import Settings
from picdesk.errors import ConfigError
from picdesk.interfaces import DIRECTIONS
from picdesk.jobs.attempts import OutsideError
from picdesk.measures.listing import JOINTS, LISTED, is_rank
from picdesk.report.content import Fact, VerdictTable
from picdesk.report.terminal import clean, console, print_table
from picdesk.retrieval.scores import Bars, ByDirection, joint_of

BOTH = "both"
MOST_SHOWN = 40
Reported = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Line:
    """One number, as reported and as measured, and how far apart the two may be; `decides`: whether further is a failure."""

    name: str
    reported: float
    measured: float
    allowed: float
    decides: bool = True

    @property
    def difference(self) -> float:
        """Measured less reported."""
        return self.measured - self.reported

    @property
    def verdict(self) -> str:
        """`exact`, `within tolerance`, `outside`, or, of what other code may estimate otherwise, `by other code`."""
        if self.difference == 0:
            return "exact"
        if abs(self.difference) <= self.allowed * (1 + 1e-9):
            return "within tolerance"
        return "outside" if self.decides else "by other code"


def compare_numbers(reported: Reported, scored: ByDirection, tolerance: float, where: str) -> list[Line]:
    """A line for each reported number, in the order of the tables. The tolerance is a share; of a rank it is that share of the
    reported rank, of a sum of several that of the most it can be. `both` holds metrics over both directions.

    Raises `ConfigError` naming a direction or a metric that was not measured.
    """
    lines, here = [], {str(direction): one.metrics for direction, one in scored.items()}
    if BOTH in reported:
        here[BOTH] = {key: one.value for key, one in joint_of(scored, Bars(resamples=1)).items()}
    for direction, metrics in reported.items():
        if direction not in here:
            raise ConfigError(f"{where}.{direction}: not measured; directions here: {', '.join(scored)}")
        measured = here[direction]
        for name in metrics:
            if name not in measured:
                told = (
                    f"choose of {', '.join(measured)}" if measured else "add metrics.names=[hits,mrr,rsum], or the like"
                )
                raise ConfigError(f"{where}.{direction}.{name}: not measured; {told}")
        for name in (name for name in measured if name in metrics):
            value = metrics[name]
            allowed = may_move((direction, "metrics", name), value, tolerance)
            lines.append(Line(f"{direction}/{name}", float(value), float(measured[name]), allowed))
    return lines


def in_tables(reported: Mapping[str, Any], scored: ByDirection) -> dict[str, dict[str, float]]:
    """The numbers of a `metrics.json` that the tables hold, by direction.

    Less hubness that the lists do not tell (`Scored.listed`), though the code of the job told it: it is no number to have again.
    """
    found: dict[str, dict[str, float]] = {d: dict(reported[d]["metrics"]) for d in DIRECTIONS if d in reported}
    for direction, one in scored.items():
        for name in set(LISTED).difference(one.listed):
            found.get(direction, {}).pop(name, None)
    return found


def compare_files(
    reported: Mapping[str, Any],
    measured: Mapping[str, Any],
    tolerance: float,
    same_code: bool = True,
    moved: bool = False,
) -> tuple[list[Line], list[str]]:
    """A line for each further number of two `metrics.json`, reported and measured: intervals, folds, slices, what is without
    look-alikes, metrics over both directions; and the names of those that were reported and not measured.

    The end of an interval may move by twice the tolerance, as it is that far from a value that may move too; a p-value by a
    fifth of itself besides, as a query more or less moves it. Where numbers of the tables `moved` (they are not exact), those of
    a part may move by one of its queries, of as many as were measured. Estimates (intervals, p) decide only where the `same_code`
    made both.
    """
    here = dict(numbers_in(measured))
    lines, lost = [], []
    for place, value in numbers_in(reported):
        if place[0] in DIRECTIONS and place[1:2] == ("metrics",) and (place in here or place[-1] not in LISTED):
            continue  # what the tables show, which has lines of its own
        if place in here:
            step = one_query(measured, place) if moved else 0.0
            allowed = max(may_move(place, value, tolerance), step * (2 if is_estimate(place) else 1))
            lines.append(Line(name_of(place), value, here[place], allowed, same_code or not is_estimate(place)))
        else:
            lost.append(name_of(place))
    return lines, lost


def name_of(place: tuple[str, ...]) -> str:
    """What a number is called: `t2i/intervals/hits@1/high`, where the file has the second of two."""
    *keys, last = place
    ends = ("low", "high") if "intervals" in keys else ("value", "low", "high")
    return "/".join([*keys, ends[int(last)] if last.isdigit() and int(last) < len(ends) else last])


def is_estimate(place: tuple[str, ...]) -> bool:
    """Whether a number is no plain count or mean: an end of an interval, a difference with one, a p-value."""
    value_of_part = place[-1] == "0" and "intervals" not in place and "less_rest" not in place
    return (place[-1].isdigit() and not value_of_part) or place[-1] in ("p", "p_family")


def one_query(content: Mapping[str, Any], place: tuple[str, ...]) -> float:
    """What one query is of the part that a number is about; 0 for ranks, and where the part's size is not said."""
    found, node = 0.0, content
    for key in place:
        if isinstance(node, Mapping):
            counted = node if "queries" in node else node.get("metrics", {})
            found = 1 / counted["queries"] if isinstance(counted, Mapping) and counted.get("queries") else found
            node = node.get(key, {})
    return 0.0 if any(map(is_rank, place)) else found


def numbers_in(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number of a JSON value, and the keys and positions that lead to it."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from numbers_in(value, (*place, str(key)))
    elif isinstance(content, list):
        for position, value in enumerate(content):
            yield from numbers_in(value, (*place, str(position)))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield place, float(content)


def may_move(place: tuple[str, ...], value: float, tolerance: float) -> float:
    """How far a number may be from the reported one, by the keys that lead to it."""
    if place[-1] in ("p", "p_family"):
        return tolerance + abs(value) / 5
    scale = max([1.0, *(JOINTS[key].most for key in place if key in JOINTS)])
    if any(map(is_rank, place)):
        scale = abs(value)
    return tolerance * scale * (2 if place[-1].isdigit() else 1)


@dataclass(frozen=True)
class Verdict:
    """All lines, the tolerance that they were held against, and what is compared with what; `title` is that of the page.

    `reported` is the whole `metrics.json` of the job that is had again, {} where single values are expected; `further` are the
    lines of what else stands in it, and `lost` names what was not measured again. `same_code`: of both jobs.
    """

    lines: tuple[Line, ...]
    tolerance: float
    facts: Mapping[str, str]
    title: str = ""
    reported: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[Line, ...] = ()
    lost: tuple[str, ...] = ()
    same_code: bool = True

    def held_against(self, measured: Mapping[str, Any]) -> Verdict:
        """The verdict with whatever else was reported, held against the whole `metrics.json` that was measured."""
        moved = any(line.verdict != "exact" for line in self.lines)
        further, lost = compare_files(self.reported, measured, self.tolerance, self.same_code, moved)
        return replace(self, further=tuple(further), lost=tuple(lost))

    @property
    def outside(self) -> list[str]:
        """Names of the numbers that were not had again."""
        return [line.name for line in (*self.lines, *self.further) if line.verdict == "outside"]

    @property
    def summary(self) -> str:
        """How many numbers are the same to the last digit, and how many lie outside."""
        exact, more = (sum(one.verdict == "exact" for one in lines) for lines in (self.lines, self.further))
        beside = f" and {more} of {len(self.further)} further numbers" if self.further else ""
        lost = f"; {len(self.lost)} were not measured again, for example {self.lost[0]}" if self.lost else ""
        other = sum(one.verdict == "by other code" for one in self.further)
        lost += f"; {other} estimates differ, as other code may make them" if other else ""
        of_all = f"{exact} of {len(self.lines)}{beside} exact"
        return f"{of_all}, {len(self.outside)} outside the tolerance of {self.tolerance:g}{lost}"

    @property
    def shown(self) -> tuple[Line, ...]:
        """The lines of the tables, and of the further ones those that are not exact, the worst first, up to a screen of them."""
        apart = sorted(
            (line for line in self.further if line.verdict != "exact"), key=lambda one: one.verdict != "outside"
        )
        return (*self.lines, *apart[:MOST_SHOWN])

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
            for line in (*self.lines, *self.further)
        ]
        lost = {"not_measured": list(self.lost)} if self.lost else {}
        return {"tolerance": self.tolerance, "summary": self.summary, **self.facts, "lines": lines, **lost}

    def table(self) -> VerdictTable:
        """For the head of the page."""
        rows = tuple((line.name, *digits(line), line.verdict) for line in self.shown)
        facts = tuple(Fact(name, text, wide=True) for name, text in self.facts.items())
        return VerdictTable(self.summary, not self.outside, rows, facts)

    def settle(self) -> None:
        """Print the table; raise `OutsideError` if a number lies outside the tolerance."""
        to = console()
        for name, fact in self.facts.items():
            to.print(clean(f"{name}: {fact}"))
        header = ("metric", "reported", "measured", "difference", "verdict")
        lines = [(line.name, *digits(line), line.verdict) for line in self.shown]
        print_table(header, lines, to, right=(1, 2, 3))
        to.print(clean(self.summary))
        if self.outside:
            names = ", ".join(self.outside[:MOST_SHOWN])
            raise OutsideError(f"not reproduced: {names}: further than {self.tolerance:g} from the reported value")


Judge = Callable[[Settings, ByDirection], Verdict | None]


def digits(line: Line) -> tuple[str, str, str]:
    """Reported, measured and difference, as they are shown."""
    apart = f"{line.difference:+.2g}" if line.difference else "0"
    return f"{line.reported:.6g}", f"{line.measured:.6g}", apart


def judge_expected(settings: Settings, scored: ByDirection) -> Verdict | None:
    """Compare with the `expected` values, where there are any."""
    if not settings.expected:
        return None
    lines = compare_numbers(settings.expected, scored, settings.tolerance, "expected")
    facts = {**settings.protocol, "source": settings.source or "none given"}
    return Verdict(tuple(lines), settings.tolerance, facts)
