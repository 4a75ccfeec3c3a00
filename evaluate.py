"""Retrieve and score, or score a run: `python evaluate.py ckpt=latest`, `python evaluate.py run_file=R qrels_file=Q`."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema as schema  # makes the schema known before a config is composed
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float | None:
    """One evaluation job; the objective for a sweep is the mean hits@1 of both directions."""
    return job(cfg, "evaluate")


if __name__ == "__main__":
    open_door(main)
