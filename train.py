"""Fit a backbone's heads and evaluate what was fitted: `python train.py experiment=flickr8k_lite`."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema as schema  # makes the schema known before a config is composed
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """One training job; the objective for a sweep is the best mean hits@1 on validation data."""
    return job(cfg, "train")


if __name__ == "__main__":
    open_door(main)
