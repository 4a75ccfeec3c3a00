"""What every logger of a job can do, and the two that need no server: CSV files, and none.

All three (`logger=wandb`, `csv`, `none`) are Lightning loggers with the same three more methods, so that a pipeline
calls them without asking which one it has.
"""

import csv
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import DummyLogger

from picdesk.files import written_whole


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
    """A Lightning logger that also takes a job's final table and can be closed."""

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


class CsvLogger(CSVLogger):
    """`<save_dir>/csv/`: metrics.csv, hparams.yaml, retrieved.csv."""

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="csv", version="", flush_logs_every_n_steps=1)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log numbers by name, and write them at once."""
        super().log_metrics(metrics, step)
        self.save()

    def identity(self) -> str:
        """The files are found by their folder."""
        return "csv"

    def go_on(self, identity: str) -> None:
        """Keep the rows that are there; Lightning's writer would begin by deleting them."""
        path = Path(self.log_dir) / "metrics.csv"
        if not path.is_file():
            return
        with path.open(encoding="utf-8", newline="") as stream:
            rows: list[dict[str, Any]] = list(csv.DictReader(stream))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            writer = self.experiment
        writer.metrics.extend(rows)
        self.save()

    def log_retrieval_table(self, rows: Sequence[RetrievedRow]) -> None:
        """Write `retrieved.csv`; pictures stand as their ids."""
        with (
            written_whole(Path(self.log_dir) / "retrieved.csv") as path,
            path.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)

    def finish(self, failed: bool = False) -> None:
        """Write what is pending."""
        self.finalize("failed" if failed else "success")


class NoLogger(DummyLogger):
    """Logs nothing."""

    def identity(self) -> str:
        """None is needed."""
        return ""

    def go_on(self, identity: str) -> None:
        """Nothing."""

    def log_retrieval_table(self, rows: Sequence[RetrievedRow]) -> None:
        """Nothing."""

    def finish(self, failed: bool = False) -> None:
        """Nothing."""
