"""`logger=csv`: the numbers of a job as files beside it."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from picdesk.files import written_whole
from picdesk.parts import config_part
from picdesk.report.loggers import COLUMNS, RetrievedRow
from picdesk.text.cells import PeopleWriter


@config_part
class CsvLogger(CSVLogger):
    """`<save_dir>/csv/`: metrics.csv, hparams.yaml, retrieved.csv."""

    silent = False

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="csv", version="", flush_logs_every_n_steps=1)

    def prepare(self) -> None:
        """Nothing takes long."""

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
            writer = PeopleWriter(stream)
            writer.writerow(COLUMNS)
            writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)

    def finish(self, failed: bool = False) -> None:
        """Write what is pending."""
        self.finalize("failed" if failed else "success")
