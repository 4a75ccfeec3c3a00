"""The second gate, `forget_on=NAME`: a second data set is scored before and after a fit. Gained here, lost there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from picdesk.assembly.again import on_second_data
from picdesk.assembly.session import Session
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.pages import show
from picdesk.report.content import MetricTable, Note
from picdesk.retrieval.scores import ByDirection, flat_metrics, in_order


@dataclass(frozen=True)
class Second:
    """The second data set of a job: its session, and what was scored on it before the fit and after."""

    session: Session
    before: ByDirection | None = None
    after: ByDirection | None = None

    @property
    def name(self) -> str:
        """What the data set is called."""
        return self.session.dataset.collection.name

    def with_scores(self, backbone: TwoTower, encoder: Encoder) -> Second:
        """The scores of the backbone as it is: the first call is before the fit, the second after it."""
        self.session.backbone, self.session.encoder = backbone, encoder
        scores = self.session.system.evaluate(self.session.dataset, self.session.part)
        return replace(self, before=scores) if self.before is None else replace(self, after=scores)

    def fingerprint(self) -> dict[str, str]:
        """Digests of the second data set's content, under names of their own."""
        dataset = self.session.dataset
        whole = self.session.fingerprint(dataset.part("all")) | {"split": dataset.split_digest()}
        return {f"forget_on.{key}": value for key, value in whole.items()}


def second_of(session: Session) -> Second | None:
    """The second data set, read and split, where `forget_on` names one. Raises `ConfigError` for a part it has not."""
    second = on_second_data(session)
    if second is None:
        return None
    try:
        second.dataset.part(second.settings.part)
    except ConfigError as error:
        raise ConfigError(f"forget_on.{error}") from None
    return Second(second)


def tables(second: Second | None) -> tuple[MetricTable, ...]:
    """The metric tables of the second data set, named after it."""
    if second is None or second.before is None or second.after is None:
        return ()
    made = show.metric_tables([("before", second.before, "other"), ("after", second.after, "other")])
    return tuple(replace(table, of=f"second data set {second.name}") for table in made)


def numbers(second: Second | None) -> dict[str, object]:
    """For metrics.json: the second data set's metrics before and after."""
    if second is None or second.before is None or second.after is None:
        return {}
    sides = {"before": second.before, "after": second.after}
    found: dict[str, object] = {name: metrics_by_direction(scores) for name, scores in sides.items()}
    return {"forget_on": {"data": second.name, "part": second.session.settings.part, **found}}


def manifest_metrics(before: ByDirection, second: Second | None) -> dict[str, dict[str, float]]:
    """For the manifest: `t2i/hits@1`, ... before the fit, and of the second data set before and after it."""
    sides = {"before": before}
    if second is not None and second.before is not None and second.after is not None:
        sides |= {"forget_on before": second.before, "forget_on after": second.after}
    return {name: flat_metrics(scores) for name, scores in sides.items()}


def metrics_by_direction(scores: ByDirection) -> dict[str, dict[str, float]]:
    """Metrics by direction."""
    return {direction: dict(one.metrics) for direction, one in in_order(dict(scores))}


def gained_and_lost(name: str, before: ByDirection, after: ByDirection, second: Second | None) -> tuple[Note, ...]:
    """One line: the change of hits@1 on the data that was trained on, and on the second data set."""
    if second is None or second.before is None or second.after is None:
        return ()
    here, there = changes(before, after), changes(second.before, second.after)
    lost = any(
        one.metrics["hits@1"] < second.before[direction].metrics["hits@1"] for direction, one in second.after.items()
    )
    return (Note(f"{name} (trained on): {here}. {second.name} (forget_on): {there}", lost),)


def changes(before: ByDirection, after: ByDirection) -> str:
    """`t2i hits@1 0.100 to 0.200 (+0.100), i2t ...`."""
    said = []
    for direction, one in in_order(after):
        was, now = before[direction].metrics["hits@1"], one.metrics["hits@1"]
        said.append(f"{direction} hits@1 {was:.3f} to {now:.3f} ({now - was:+.3f})")
    return ", ".join(said)
