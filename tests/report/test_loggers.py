import csv
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from picdesk.assembly import schema
from picdesk.errors import ConfigError
from picdesk.jobs.trainer import TrainerLogger, logger_of
from picdesk.report.csv_files import CsvLogger
from picdesk.report.loggers import NoLogger, RetrievedRow, log_final
from tests.report import sample

ROWS = [
    RetrievedRow("q1", "a red <b>wall</b>", 1, "red", 0.5, True, 1, sample.read_picture("red")),
    RetrievedRow("q1", "a red <b>wall</b>", 2, "blue", 0.25, False, 1),
]
METRICS = {"t2i/hits@1": 0.5, "i2t/mrr": 0.25}
CONFIG = {"seed": 7, "data": {"name": "demo"}}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def grows_to(path: Path, size: int) -> bool:
    """wandb's own process writes the last of a finished run some milliseconds after `finish` returns."""
    for _ in range(100):
        if path.is_file() and path.stat().st_size > size:
            return True
        time.sleep(0.1)
    return False


def test_csv_leaves_curves_config_metrics_and_table(tmp_path):
    logger = CsvLogger(str(tmp_path))
    logger.log_metrics({"val/t2i/hits@1": 0.1}, step=0)
    log_final(logger, METRICS, ROWS, CONFIG)
    logger.finish()
    assert sorted(p.name for p in (tmp_path / "csv").iterdir()) == ["hparams.yaml", "metrics.csv", "retrieved.csv"]
    lines = read_csv(tmp_path / "csv" / "metrics.csv")
    assert lines[0]["val/t2i/hits@1"] == "0.1"
    assert lines[-1]["t2i/hits@1"] == "0.5"
    found = read_csv(tmp_path / "csv" / "retrieved.csv")
    assert [(row["rank"], row["item_id"], row["relevant"]) for row in found] == [
        ("1", "red", "True"),
        ("2", "blue", "False"),
    ]


def test_none_takes_everything_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = NoLogger()
    log_final(logger, METRICS, ROWS, CONFIG)
    logger.finish()
    assert list(tmp_path.iterdir()) == []


def test_wandb_refuses_an_unknown_mode(tmp_path):
    wandb_media = pytest.importorskip("picdesk.report.wandb_media")
    with pytest.raises(ConfigError, match=r"logger\.mode=on: must be one of auto, offline, online, disabled"):
        wandb_media.JobWandbLogger(str(tmp_path), mode="on")


class OneWeight(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch):
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss, on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(logger, folder: Path) -> None:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=logger, default_root_dir=folder, **quiet)
    trainer.fit(OneWeight(), torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2))


def test_a_trainer_is_given_any_logger_but_one_that_keeps_nothing(tmp_path):
    silent = SimpleNamespace(silent=True, log_metrics=print)
    assert logger_of(SimpleNamespace(logger=silent)) is False
    assert logger_of(SimpleNamespace(logger=NoLogger())) is False
    fit(logger_of(SimpleNamespace(logger=CsvLogger(str(tmp_path)))), tmp_path)
    assert [line["epoch"] for line in read_csv(tmp_path / "csv" / "metrics.csv")] == ["0", "1"]


def test_a_trainer_takes_the_csv_logger(tmp_path):
    fit(CsvLogger(str(tmp_path)), tmp_path)
    lines = read_csv(tmp_path / "csv" / "metrics.csv")
    assert [line["epoch"] for line in lines] == ["0", "1"]
    assert all(float(line["train/loss"]) >= 0 for line in lines)


@pytest.mark.slow
def test_a_trainer_takes_the_wandb_logger(tmp_path, monkeypatch):
    from picdesk.report import wandb_media

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    logger = wandb_media.JobWandbLogger(str(tmp_path / "job"))
    fit(TrainerLogger(logger), tmp_path / "job")
    log_final(logger, METRICS, ROWS, CONFIG)
    assert logger.experiment.summary["t2i/hits@1"] == 0.5
    assert logger.experiment.summary["train/loss"] >= 0
    logger.finish()


def test_a_run_is_called_after_its_job_and_stands_with_its_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, sweep = tmp_path / "outputs", tmp_path / "outputs" / "train" / "2026-01-02" / "10-11-12-ab"
    for name in ("WANDB_NAME", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)
    assert schema.run_name(str(sweep), str(outputs)) == "train/2026-01-02/10-11-12-ab"
    assert schema.run_name(str(tmp_path / "mine"), str(outputs)) == "mine"
    assert schema.run_group(str(outputs)) is None
    monkeypatch.setattr(schema, "own_sweep", lambda: sweep)
    assert schema.run_name(str(sweep / "lr-0.1-abcdef"), str(outputs)) == "lr-0.1-abcdef"
    assert schema.run_group(str(outputs)) == "train/2026-01-02/10-11-12-ab"
    monkeypatch.setenv("WANDB_NAME", "own")
    monkeypatch.setenv("WANDB_RUN_GROUP", "own")
    assert schema.run_name(str(sweep), str(outputs)) is None, "wandb reads it"
    assert schema.run_group(str(outputs)) is None


@pytest.mark.slow
def test_wandb_offline_keeps_each_job_in_its_own_folder_and_says_nothing(tmp_path, monkeypatch, capfd):
    from picdesk.report import wandb_media

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = os.environ.get("WANDB_DATA_DIR")
    for job in ("one", "two"):
        logger = wandb_media.JobWandbLogger(str(tmp_path / job), group="sweep", name=job)
        logger.log_metrics({"val/t2i/hits@1": 0.1}, 0)
        log_final(logger, METRICS, ROWS, CONFIG)
        logger.finish()
        logger.finish()
        (run,) = (tmp_path / job / "wandb").glob("offline-run-*")
        assert grows_to(run / f"run-{run.name.split('-')[-1]}.wandb", 1000)
        assert list(run.glob("files/media/table/retrieved_*.table.json"))
        assert any(p.stat().st_size for p in (tmp_path / job / "wandb" / "artifacts" / "staging").iterdir())
    assert os.environ.get("WANDB_DATA_DIR") == before
    assert not (tmp_path / "home" / ".local").exists()
    said = capfd.readouterr()
    assert said.out + said.err == ""


@pytest.mark.slow
def test_wandb_online_without_a_key_is_one_line(tmp_path, monkeypatch):
    from picdesk.report import wandb_media

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(wandb_media, "unreachable", lambda *_: None)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logger = wandb_media.JobWandbLogger(str(tmp_path), mode="online")
    with pytest.raises(ConfigError, match=r"logger\.mode=online: wandb began no run: .*WANDB_API_KEY") as error:
        logger.log_metrics({"a": 1.0}, 0)
    assert "\n" not in str(error.value)
    logger.finish()


@pytest.mark.slow
def test_wandb_disabled_leaves_nothing(tmp_path):
    from picdesk.report import wandb_media

    logger = wandb_media.JobWandbLogger(str(tmp_path), mode="disabled")
    log_final(logger, METRICS, ROWS, CONFIG)
    logger.finish()
    assert not list(tmp_path.rglob("*.wandb"))


def test_csv_goes_on_behind_the_rows_of_a_killed_job(tmp_path: Path) -> None:
    first = CsvLogger(str(tmp_path))
    first.log_metrics({"val/hits@1": 0.25}, step=1)
    second = CsvLogger(str(tmp_path))
    second.go_on(first.identity())
    second.log_metrics({"val/hits@1": 0.5, "more": 1.0}, step=2)
    rows = read_csv(tmp_path / "csv" / "metrics.csv")
    assert [(row["step"], row["val/hits@1"]) for row in rows] == [("1", "0.25"), ("2", "0.5")]


def test_wandb_goes_on_as_the_same_run(tmp_path: Path) -> None:
    from picdesk.report.wandb_media import JobWandbLogger

    first = JobWandbLogger(str(tmp_path), mode="disabled")
    identity = first.identity()
    assert identity == first.identity()
    second = JobWandbLogger(str(tmp_path), mode="disabled")
    assert second.identity() != identity
    second.go_on(identity)
    assert second.identity() == identity


def said_by(code: str) -> str:
    """What a Python of its own prints, wandb as it comes."""
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_MODE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_a_run_begins_without_the_import_of_wandbs_launcher(tmp_path: Path) -> None:
    code = (
        "import sys; from picdesk.report.wandb_media import JobWandbLogger\n"
        f"logger = JobWandbLogger({str(tmp_path)!r}, mode='offline'); logger.log_metrics({{'a': 1.0}}, 3)\n"
        "assert logger.experiment.summary['trainer/global_step'] == 3; logger.finish()\n"
        "print([name for name in sys.modules if name.startswith(('wandb.sdk.launch', 'pytorch_lightning'))])"
    )
    assert said_by(code) == "[]"


@pytest.mark.slow
def test_a_table_is_logged_without_the_import_of_pandas(tmp_path: Path) -> None:
    code = (
        "import sys; from picdesk.report.wandb_media import JobWandbLogger; from picdesk.report.loggers import RetrievedRow\n"
        f"logger = JobWandbLogger({str(tmp_path)!r}, mode='offline')\n"
        "logger.log_retrieval_table([RetrievedRow('q', 'a query', 1, 'i', 0.5, True, 1)]); logger.finish()\n"
        "print([name for name in sys.modules if name.startswith('pandas')])"
    )
    assert said_by(code) == "[]"
    assert list(tmp_path.rglob("retrieved_*.table.json"))


def test_wandbs_process_is_begun_before_it_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from picdesk.report import wandb_media

    begun = threading.Event()
    monkeypatch.setattr(wandb_media.library(), "setup", begun.set)
    wandb_media.JobWandbLogger(str(tmp_path), mode="disabled").prepare()
    logger = wandb_media.JobWandbLogger(str(tmp_path), mode="offline")
    assert not begun.wait(0.2)
    logger.prepare()
    assert begun.wait(10)


def test_only_the_first_of_several_processes_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from picdesk.report.wandb_media import JobWandbLogger

    monkeypatch.setenv("LOCAL_RANK", "1")
    logger = JobWandbLogger(str(tmp_path), mode="disabled")
    log_final(logger, METRICS, ROWS, CONFIG)
    logger.finish()
    assert logger._run is None
