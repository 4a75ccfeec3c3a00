"""`train.py resume=OUTPUT_DIR`: a job that was killed goes on in its own folder, as it was begun."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly import shelf
from picdesk.assembly.checkpoints import find
from picdesk.assembly.named import named_keys
from picdesk.assembly.saved import taken, write_config
from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.files import write_json
from picdesk.jobs.folder import Job
from picdesk.report.metrics_file import read_json
from picdesk.training.checkpoint import CONFIG, Checkpoint
from picdesk.training.ranks import is_first_rank
from picdesk.training.state import STATE

log = logging.getLogger(__name__)
FOLDER, ABOUT = "resume", "job.json"
OF_THIS_MACHINE = ("paths", "logger", "encode", "plugins", "network")


def resumed(cfg: DictConfig) -> tuple[DictConfig, bool]:
    """With `resume`, the config of the stopped job, and True. Raises where there is none, or the command line says otherwise."""
    if cfg.resume is None:
        return cfg, False
    if shelf.sweeping():
        raise ConfigError(f"resume={cfg.resume}: one job goes on at a time; leave out -m")
    folder = Path(str(cfg.resume)).expanduser() / FOLDER
    if not (folder / CONFIG).is_file():
        raise MissingFileError(
            f"resume={cfg.resume}: no stopped training there; give the output dir of a train.py job that was killed"
        )
    others = [name for name in named_keys() if name.split(".")[0] not in ("resume", *OF_THIS_MACHINE)]
    if others:
        raise ConfigError(f"resume={cfg.resume}: a job goes on as it was begun; leave out {', '.join(others)}")
    saved = taken(folder / CONFIG, cfg)
    with open_dict(saved):
        saved.resume = cfg.resume
        for key in named_keys():
            if key.split(".")[0] in OF_THIS_MACHINE:
                OmegaConf.update(saved, key, OmegaConf.select(cfg, key), merge=False)
    return saved, True


def checkpoint_of(cfg: DictConfig) -> tuple[DictConfig, Checkpoint | None]:
    """The checkpoint that the stopped job began from: its config holds all that it took from it."""
    return cfg, None if cfg.ckpt is None else find(str(cfg.ckpt), Path(cfg.paths.outputs))


def keep(job: Job, going_on: bool) -> Path:
    """Where the state of this job lies. Raises `ConfigError` where data, weights or code are not those it was begun with.

    What an earlier job left in the same folder, that of a sweep started again, is taken up with `skip_completed=true` if it is
    of this very job, and else thrown away.
    """
    folder, session = job.folder / FOLDER, job.session
    if not going_on and not (session.settings.skip_completed and begun_with(folder) == job.fingerprint):
        if is_first_rank():
            (folder / STATE).unlink(missing_ok=True)
            write_config(folder / CONFIG, session.cfg)
            write_json(folder / ABOUT, {"fingerprint": job.fingerprint, "logger": job.logger.identity()})
        return folder / STATE
    if begun_with(folder) != job.fingerprint:
        raise ConfigError(
            f"resume={session.settings.resume}: the data set, the weights or the code are no longer what this job was begun "
            "with; run it anew"
        )
    job.logger.go_on(str(read_json(folder / ABOUT).get("logger", "")))
    if (folder / STATE).is_file():
        log.info("going on from the state that %s was stopped with", job.folder)
    return folder / STATE


def begun_with(folder: Path) -> str | None:
    """The fingerprint of the job that left its state here, if there is one."""
    try:
        about: Any = read_json(folder / ABOUT)
    except (OSError, UserError):
        return None
    return str(about["fingerprint"]) if isinstance(about, dict) and about.get("fingerprint") else None


def forget(job: Job) -> None:
    """The job is done: its state is not needed any more."""
    shutil.rmtree(job.folder / FOLDER, ignore_errors=True)
