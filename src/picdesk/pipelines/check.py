"""evaluate.py task=check: look a data set over, fully, and say what was found. Encodes nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from picdesk.files import write_json
from picdesk.pipelines.parts import read_and_split
from picdesk.pipelines.world import check_data
from picdesk.report.terminal import console

log = logging.getLogger(__name__)


def check(cfg: DictConfig) -> float:
    """One job: the report on the terminal and as `check.json`. Gives the fraction that is bad."""
    collection, splits, notes = read_and_split(cfg)
    noted = replace(collection, notes=(*collection.notes, *notes))
    report = check_data(cfg, noted, splits, "full", max_bad_fraction=1.0)
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_json(folder / "check.json", report.to_json())
    console().print(report.table())
    log.info("report: %s", folder / "check.json")
    report.require(float(cfg.data.max_bad_fraction))
    return report.bad_fraction()
