"""What every logger of a job can do, so that a pipeline calls it without asking which one it has; and the one that logs nothing.

`logger=wandb` and `csv` are Lightning loggers with a few more methods. They have modules of their own: importing Lightning
takes longer than most jobs that train nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from picdesk.parts import config_part


@dataclass(frozen=True)
class RetrievedRow:
    """One retrieved item for a logger's table. `picture` holds JPEG or PNG bytes to show, where it is a picture."""

    query_id: str
    query: str
    rank: int
    item_id: str
    score: float
    relevant: bool
    true_rank: int | None = None
    picture: bytes | None = None


COLUMNS = ("query_id", "query", "rank", "item_id", "score", "relevant", "true_rank")


class JobLogger(Protocol):
    """What logs a job: it also takes a job's final table and can be closed.

    `silent`: it keeps nothing of what is logged, so that a trainer need not log to it.
    """

    silent: bool

    def prepare(self) -> None:
        """Begin what takes long before there is something to log: a job calls it that will log."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log numbers by name."""

    def log_hyperparams(self, params: Any) -> None:
        """Log the resolved config."""

    def log_retrieval_table(self, rows: Sequence[RetrievedRow]) -> None:
        """Log retrieved items with their ranks."""

    def identity(self) -> str:
        """What this run can be taken up by, should the job be killed."""

    def go_on(self, identity: str) -> None:
        """Log to the run of a job that was killed, behind what is there."""

    def finish(self, failed: bool = False) -> None:
        """Write all that is pending and let go, so that the next job of a sweep starts its own."""


def log_final(
    logger: JobLogger, metrics: Mapping[str, float], table: Sequence[RetrievedRow], config: Mapping[str, Any]
) -> None:
    """Log what a job ends with: config, final metrics, retrieved items. `finish` is the caller's."""
    logger.log_hyperparams(dict(config))
    logger.log_metrics({name: float(value) for name, value in metrics.items()})
    logger.log_retrieval_table(table)


@config_part
class NoLogger:
    """Logs nothing. A trainer is given no logger in its place."""

    silent = True

    def prepare(self) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Nothing."""

    def log_hyperparams(self, params: Any) -> None:
        """Nothing."""

    def identity(self) -> str:
        """None is needed."""
        return ""

    def go_on(self, identity: str) -> None:
        """Nothing."""

    def log_retrieval_table(self, rows: Sequence[RetrievedRow]) -> None:
        """Nothing."""

    def finish(self, failed: bool = False) -> None:
        """Nothing."""
