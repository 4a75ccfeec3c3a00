"""The trainer of a job: its mistakes told before anything costly is begun, and settings that are not the user's."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger

from picdesk.assembly import shelf
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, UserError
from picdesk.jobs.fit_checks import check_precision, check_taken, check_validation
from picdesk.jobs.folder import Job
from picdesk.process.rank import is_first_rank
from picdesk.report.loggers import JobLogger
from picdesk.training.fit import quiet_lightning

HERE = {"accelerator": "take cpu, or auto for what there is here", "devices": "take 1, or as many as there are here"}


def check_trainer(session: Session) -> None:
    """Raise `ConfigError` where Lightning would refuse the trainer, or a job would not be trained as it says."""
    node = session.plain_node("trainer")
    steps, epochs = node.get("max_steps", -1), node.get("max_epochs")
    for key, value, least in (("max_epochs", epochs, 0), ("max_steps", steps, -1)):
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"trainer.{key}={value}: a whole number, {least} or more")
    if node.get("accumulate_grad_batches", 1) != 1:
        raise ConfigError(
            f"trainer.accumulate_grad_batches={node['accumulate_grad_batches']}: gradients of small batches added up "
            "leave out the negatives of the others; take a large training.batch_size, and training.chunk for small memory"
        )
    check_validation(node)
    check_precision(node)
    trainer = make_trainer(session, logger=False, enable_checkpointing=False)
    check_taken(node, trainer.precision)
    refuse_sweep(trainer)
    refuse_strategy(trainer)
    if session.settings.training.batch_size % trainer.world_size:
        raise ConfigError(
            f"training.batch_size={session.settings.training.batch_size}: not a multiple of the {trainer.world_size} processes"
        )


def refuse_sweep(trainer: pl.Trainer) -> None:
    """Raise `ConfigError` for a job of a sweep that would be shared by several processes."""
    if trainer.world_size > 1 and shelf.sweeping():
        raise ConfigError(
            f"trainer.devices={trainer.num_devices}: each process would begin the whole sweep anew; with several processes run "
            "one job at a time, or sweep with trainer.devices=1"
        )


def refuse_strategy(trainer: pl.Trainer) -> None:
    """Raise `ConfigError` where several processes would wait forever for gradients of weights that a loss leaves out."""
    settings = getattr(trainer.strategy, "_ddp_kwargs", {})
    if trainer.world_size > 1 and not settings.get("find_unused_parameters"):
        raise ConfigError(
            f"trainer.devices={trainer.num_devices}: several processes need a strategy with find_unused_parameters=true, as no "
            "loss uses every weight; take trainer=ddp, or for one process trainer.devices=1"
        )


class TrainerLogger(Logger):
    """A job's logger as a trainer takes it: what the trainer logs goes there, on the first process alone."""

    def __init__(self, logger: JobLogger) -> None:
        super().__init__()
        self._logger = logger

    @property
    def name(self) -> str:
        """What Lightning names folders by; there are none."""
        return "job"

    @property
    def version(self) -> str:
        """The run's id."""
        return self._logger.identity()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers by name, at a step."""
        self._logger.log_metrics(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log what a module says of itself."""
        self._logger.log_hyperparams(params)


def logger_of(job: Job) -> Logger | bool:
    """The job's logger as a trainer takes it; none where it keeps nothing."""
    return False if job.logger.silent else TrainerLogger(job.logger)


def make_trainer(session: Session, **settings: Any) -> pl.Trainer:
    """A trainer of the config. Raises `ConfigError` with Lightning's own words where it refuses."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    try:
        with quiet_lightning():
            trainer: pl.Trainer = session.build("trainer", **(quiet | settings))
    except Exception as error:  # wrapped by the one who instantiates
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise
        if isinstance(cause, MisconfigurationException | ValueError | TypeError | ImportError):
            raise ConfigError(refusal(session, cause)) from None
        raise
    return trainer


def refusal(session: Session, cause: BaseException) -> str:
    """Lightning's own words, after the key that they name first and its value; of a device also what would be right."""
    said, node = " ".join(str(cause).split()).rstrip("."), session.plain_node("trainer")
    places = {key: said.lower().find(key) for key in node}
    named = min((key for key, place in places.items() if place >= 0), key=places.__getitem__, default=None)
    key = "accelerator" if said.startswith("No supported") else named
    if key is None:
        return f"trainer: {said}"
    told = f"trainer.{key}={node.get(key)}: {said}"
    return f"{told}; {HERE[key]}" if key in HERE else told


def settings(job: Job) -> dict[str, Any]:
    """Trainer settings that are not the user's: where it may write, and bars on a terminal only."""
    return {
        "default_root_dir": str(job.folder),
        "enable_checkpointing": True,  # of the state for resume= alone
        "use_distributed_sampler": False,  # the order of the batches shares them out itself
        "enable_progress_bar": sys.stderr.isatty() and is_first_rank(),
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
    }


def hush_other_ranks() -> None:
    """Where processes train together, only the first speaks."""
    if not is_first_rank():
        logging.getLogger().setLevel(logging.ERROR)
